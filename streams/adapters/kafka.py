"""How to connect to Kafka, in the words of the two clients: aiokafka's keyword arguments and Faust's credentials."""

import ssl
from pathlib import Path
from typing import Any

import msgspec
from aiokafka.helpers import create_ssl_context


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
