"""An embedded Kafka that lets nobody in without a password, and then to nothing that was not granted.

What may live here: what a secured broker has that a plain one lacks. Everything else is `kafka.py`'s.

How it works. An authority is made on the spot; it signs the certificate that all nodes show, for 127.0.0.1. Clients
come by TLS and log in with SCRAM-SHA-512. Nodes log in to each other likewise, and reach their controllers by that
certificate, which those demand. Kafka's own authoriser for KRaft decides, and what no rule allows is refused. Super
users are the nodes and `admin`. Users exist from the first start: their passwords are drawn here and given to Kafka's
format tool in a file, as a command line is everybody's to read.

    with SecureKafka(["doorward-worker"]) as kafka:
        ...  # kafka.environment("doorward-worker") are the DOORWARD_KAFKA_* settings of that user
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from streams.adapters.kafka import Connection
from streams.dev.kafka import EmbeddedKafka, Node

__all__ = ["ADMIN", "Authority", "SecureKafka"]

ADMIN: Final = "admin"
"""The super user, as which topics and rights are made."""

_NODE: Final = "doorward-node"
"""The nodes' own user, and the common name in their certificate."""

_SCRAM: Final = "org.apache.kafka.common.security.scram.ScramLoginModule"
_VALID: Final = timedelta(days=1)


class Authority:
    """An authority for certificates, for as long as this object lives.

    Attributes:
        certificate: its own, in PEM.
    """

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "doorward sandbox authority")])
        self._signed = (
            _certificate(self._name, self._name, self._key.public_key(), self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_others=True), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.certificate = _pem(self._signed)

    def issue(self, name: str, host: str) -> bytes:
        """A new private key and its certificate, in PEM, for both ends of a connection.

        Args:
            name: The common name.
            host: The IP address it is shown at.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        signed = (
            _certificate(subject, self._name, key.public_key(), self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return private + _pem(signed)


class SecureKafka(EmbeddedKafka):
    """An `EmbeddedKafka` with TLS, passwords and an authoriser. Its data is always temporary, as its passwords are.

    Starting it runs an event loop: not for use inside one.

    Args:
        users: Who may log in, besides `admin`. Without rules they may do nothing.
        nodes: As for `EmbeddedKafka`.
    """

    def __init__(self, users: Iterable[str], nodes: int = 1) -> None:
        super().__init__(nodes)
        self._passwords = {user: secrets.token_urlsafe(18) for user in (_NODE, ADMIN, *users)}
        self._authority = Authority()
        self._certificate = self._authority.issue(_NODE, "127.0.0.1")

    @property
    def ca(self) -> Path:
        """The file of the authority's certificate; there once it has started."""
        if self.data is None:
            raise RuntimeError("this Kafka has not been started")
        return self.data / "ca.pem"

    def connection(self, user: str) -> Connection:
        """How a user connects. Raises KeyError for one who is not known."""
        return Connection(
            bootstrap=self.bootstrap,
            client_id=user,
            security="SASL_SSL",
            mechanism="SCRAM-SHA-512",
            username=user,
            password=self._passwords[user],
            ca=self.ca,
        )

    def environment(self, user: str) -> dict[str, str]:
        """The settings with which commands and workers connect as a user. Raises KeyError for one who is not known."""
        return {
            "DOORWARD_KAFKA_BOOTSTRAP": self.bootstrap,
            "DOORWARD_KAFKA_SECURITY": "SASL_SSL",
            "DOORWARD_KAFKA_MECHANISM": "SCRAM-SHA-512",
            "DOORWARD_KAFKA_USERNAME": user,
            "DOORWARD_KAFKA_PASSWORD": self._passwords[user],
            "DOORWARD_KAFKA_CA": str(self.ca),
        }

    def _configure(self, node: Node) -> None:
        super()._configure(node)
        self.ca.write_bytes(self._authority.certificate)
        (node.folder / "node.pem").write_bytes(self._certificate)
        users = (f"--add-scram\nSCRAM-SHA-512=[name={user},password={word}]" for user, word in self._passwords.items())
        (node.folder / "users").write_text("\n".join(users), encoding="utf-8")

    def _settings(self, node: Node) -> dict[str, str | int]:
        settings = super()._settings(node)
        for name in ("listeners", "advertised.listeners"):
            settings[name] = str(settings[name]).replace("PLAINTEXT:", "SASL_SSL:")
        login = f'{_SCRAM} required username="{_NODE}" password="{self._passwords[_NODE]}";'
        return settings | {
            "listener.security.protocol.map": "SASL_SSL:SASL_SSL,CONTROLLER:SSL",
            "inter.broker.listener.name": "SASL_SSL",
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "sasl.mechanism.inter.broker.protocol": "SCRAM-SHA-512",
            "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": login,
            # Controllers know each other before there are users: by the certificate alone.
            "listener.name.controller.ssl.client.auth": "required",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": "node.pem",
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": "../ca.pem",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "allow.everyone.if.no.acl.found": "false",
            "super.users": f"User:{_NODE};User:CN={_NODE};User:{ADMIN}",
        }

    def _format_options(self) -> list[str]:
        return ["@users"]

    def _brokers_known(self, node: Node) -> int:
        here = f"127.0.0.1:{node.port}"
        return asyncio.run(_brokers_known(here, self.connection(ADMIN).security_options()))


async def _brokers_known(bootstrap: str, security: dict[str, Any]) -> int:
    quiet = logging.getLogger("aiokafka")
    level = quiet.level
    quiet.setLevel(logging.CRITICAL)  # it logs each attempt
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=1000, **security)
    try:
        await admin.start()
        return len((await admin.describe_cluster())["brokers"])
    except (KafkaError, OSError, TimeoutError):
        return 0
    finally:
        await admin.close()
        quiet.setLevel(level)


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, issuers_key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + _VALID)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuers_key), critical=False)
    )


def _usage(*, digital_signature: bool = False, signs_others: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=signs_others,
        crl_sign=signs_others,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
