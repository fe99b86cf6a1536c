"""How to connect to Kafka, in the words of the two clients: aiokafka's keyword arguments and Faust's credentials.

And why that fails, by the setting to look at. aiokafka says of any brokers that it can't use only that it can't;
``refusal`` asks each once more and tells a wrong password from a certificate nobody vouches for. ``failure`` words what
they answer later: mostly that the user has no right to something. A topic that a user has no right to see is told from
one that is not there by no broker (it is left out of the list of topics), so ``no_topic`` names both.
"""

import logging
import ssl
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
)
from aiokafka.helpers import create_ssl_context
from aiokafka.protocol.metadata import MetadataRequest

_FOR_ANOTHER: Final = (62, 64)
"""OpenSSL's codes of a certificate for another host name or IP address (X509_V_ERR_HOSTNAME_MISMATCH, _IP_…)."""

_ASKING_MS: Final = 5_000
"""How long a broker may take to say why it refuses, milliseconds."""


class CredentialsUnavailable(Exception):
    """A file named by the settings cannot be used; one line that names the setting."""


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """Where the brokers are and who we are to them. Its repr shows no password.

    Attributes:
        bootstrap: ``host:port``, several with commas between.
        client_id: our name in group members, broker logs and quotas.
        security: Kafka's security protocol.
        mechanism: the SASL mechanism.
        username: for SASL.
        password: for SASL.
        ca: PEM file of the authority that signed the brokers' certificates; None: the system's.
    """

    bootstrap: str
    client_id: str
    security: str = "PLAINTEXT"
    mechanism: str = "SCRAM-SHA-512"
    username: str | None = None
    password: str | None = None
    ca: Path | None = None

    def __repr__(self) -> str:
        return f"Connection({self.bootstrap!r}, {self.client_id!r}, {self.security!r})"

    def security_options(self) -> dict[str, Any]:
        """Keyword arguments for any aiokafka client, besides the brokers. Raises CredentialsUnavailable."""
        options: dict[str, Any] = {"security_protocol": self.security}
        if self.security.endswith("SSL"):
            options["ssl_context"] = self._ssl_context()
        if self.security.startswith("SASL"):
            options["sasl_mechanism"] = self.mechanism
            options["sasl_plain_username"] = self.username
            options["sasl_plain_password"] = self.password
        return options

    def faust_credentials(self) -> Any:
        """Faust's credentials object; None for a plain connection. Raises CredentialsUnavailable."""
        from faust import SASLCredentials, SSLCredentials  # here: Faust takes most of a second to import

        if self.security.startswith("SASL"):
            return SASLCredentials(
                username=self.username,
                password=self.password,
                mechanism=self.mechanism,
                ssl_context=self._ssl_context() if self.security == "SASL_SSL" else None,
            )
        return SSLCredentials(context=self._ssl_context()) if self.security == "SSL" else None

    def _ssl_context(self) -> ssl.SSLContext:
        try:
            context: ssl.SSLContext = create_ssl_context(cafile=str(self.ca) if self.ca else None)
        except OSError as exc:
            raise CredentialsUnavailable(f"DOORWARD_KAFKA_CA: cannot use {self.ca}: {exc}") from None
        return context


async def refusal(bootstrap: str, **security: Any) -> str | None:
    """Why brokers that can be reached are of no use to us. Asks one after the other, each for some seconds at most.

    Args:
        bootstrap: ``host:port``, several with commas between.
        security: how to connect: ``Connection.security_options``.

    Returns:
        One line that names the setting, from the first broker that says why; None where none can be reached, or where
        one lets us in.
    """
    quiet = logging.getLogger("aiokafka")
    level = quiet.level
    quiet.setLevel(logging.CRITICAL)  # what it logs here is what we return
    try:
        for host, port, _ in collect_hosts(bootstrap):
            if (why := await _refused_by(host, port, security)) is not None:
                return why
    finally:
        quiet.setLevel(level)
    return None


def failure(error: BaseException, bootstrap: str, security: Mapping[str, Any]) -> str:
    """What went wrong with brokers that let us in, in one line that names the setting.

    Args:
        error: what aiokafka raised.
        bootstrap: ``host:port``, several with commas between.
        security: how we connected: ``Connection.security_options``.
    """
    told = error.args[0] if error.args else ""
    match error, told:
        case GroupAuthorizationFailedError(), _:
            lacks = "lacks a right on the consumer group (DOORWARD_GROUP)"
        case TopicAuthorizationFailedError() | ClusterAuthorizationFailedError(), str() if " " in told:
            lacks = told  # raised here, such as "can't create topic joins"; aiokafka gives topics' names at most
        case TopicAuthorizationFailedError(), _:
            lacks = f"lacks a right on topic {told if isinstance(told, str) else ', '.join(sorted(told))}"
        case ClusterAuthorizationFailedError(), _:
            lacks = "lacks a right on the cluster"
        case _:
            return f"Kafka at {bootstrap} (DOORWARD_KAFKA_BOOTSTRAP): {str(error) or type(error).__name__}"
    return f"DOORWARD_KAFKA_USERNAME: Kafka at {bootstrap}: {_whom(security)} {lacks}; see `doorward acls plan`"


def no_topic(names: Iterable[str], bootstrap: str, security: Mapping[str, Any]) -> str:
    """That the list of topics lacks some: they are not there, or we have no right to see them. One line."""
    missing = f"Kafka at {bootstrap} has no topic {', '.join(sorted(names))} (`doorward topics apply` makes it)"
    return f"{missing}, or {_whom(security)} has no right to see it (DOORWARD_KAFKA_USERNAME; see `doorward acls plan`)"


def _whom(security: Mapping[str, Any]) -> str:
    return security.get("sasl_plain_username") or "this user"


async def _refused_by(host: str, port: int, security: dict[str, Any]) -> str | None:
    at = f"Kafka at {host}:{port}"
    protocol = security.get("security_protocol", "PLAINTEXT")
    user = security.get("sasl_plain_username")
    try:
        connection = await create_conn(host, port, request_timeout_ms=_ASKING_MS, **security)
        try:
            await connection.send(MetadataRequest([]))  # who must log in and has not is let go on as far as here
        finally:
            connection.close()
    except ssl.SSLCertVerificationError as error:
        setting = "DOORWARD_KAFKA_BOOTSTRAP" if error.verify_code in _FOR_ANOTHER else "DOORWARD_KAFKA_CA"
        return f"{setting}: {at} shows a certificate that can't be trusted: {error.verify_message}"
    except SaslAuthenticationFailed:
        return f"DOORWARD_KAFKA_USERNAME, DOORWARD_KAFKA_PASSWORD: {at} does not let {user} in with that password"
    except UnsupportedSaslMechanismError:
        return f"DOORWARD_KAFKA_MECHANISM: {at} knows no {security.get('sasl_mechanism')}"
    except (ssl.SSLError, ConnectionResetError, IllegalSaslStateError, KafkaConnectionError):
        return f"DOORWARD_KAFKA_SECURITY is {protocol}: {at} hangs up on that"
    except (KafkaError, OSError):  # nobody is there, or nobody answers in time
        return None
    return None
