"""How our settings reach the two Kafka clients: aiokafka's keyword arguments and Faust's credentials."""

import ssl
from typing import Any

from aiokafka.helpers import create_ssl_context
from faust import SASLCredentials, SSLCredentials
from faust.types.auth import CredentialsT

from streams.settings import Settings


class CredentialsUnavailable(Exception):
    """A file named by the settings cannot be used; one line that names the setting."""


def client_options(settings: Settings) -> dict[str, Any]:
    """Keyword arguments for aiokafka's consumer and producer. Raises CredentialsUnavailable."""
    return {
        "bootstrap_servers": settings.kafka_bootstrap,
        "client_id": settings.worker,
        **security_options(settings),
    }


def security_options(settings: Settings) -> dict[str, Any]:
    """The part of them that says how to connect; the admin client takes it too.

    Raises:
        CredentialsUnavailable: the CA file cannot be read.
    """
    options: dict[str, Any] = {"security_protocol": settings.kafka_security}
    if settings.kafka_security.endswith("SSL"):
        options["ssl_context"] = _ssl_context(settings)
    if settings.kafka_security.startswith("SASL"):
        options["sasl_mechanism"] = settings.kafka_mechanism
        options["sasl_plain_username"] = settings.kafka_username
        password = settings.kafka_password
        options["sasl_plain_password"] = password.get_secret_value() if password else None
    return options


def faust_credentials(settings: Settings) -> CredentialsT | None:
    """Faust's credentials object; None for a plain connection. Raises CredentialsUnavailable."""
    if settings.kafka_security.startswith("SASL"):
        password = settings.kafka_password
        return SASLCredentials(
            username=settings.kafka_username,
            password=password.get_secret_value() if password else None,
            mechanism=settings.kafka_mechanism,
            ssl_context=_ssl_context(settings) if settings.kafka_security == "SASL_SSL" else None,
        )
    return SSLCredentials(context=_ssl_context(settings)) if settings.kafka_security == "SSL" else None


def _ssl_context(settings: Settings) -> ssl.SSLContext:
    try:
        context: ssl.SSLContext = create_ssl_context(cafile=str(settings.kafka_ca) if settings.kafka_ca else None)
    except OSError as exc:
        raise CredentialsUnavailable(f"DOORWARD_KAFKA_CA: cannot use {settings.kafka_ca}: {exc}") from None
    return context
