"""The environment, read once into one frozen ``Settings``. Every variable is ``DOORWARD_`` and the field's name.

``doorward config show`` prints them with secrets masked; ``doorward run`` refuses to start on a bad one and names it.
"""

import os
import socket
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from streams.adapters.anonymity import Standards
from streams.adapters.health import Tls
from streams.adapters.kafka import Connection
from streams.adapters.policytable import Meaning
from streams.adapters.scrape import Target
from streams.core import address, instants
from streams.core.messages import Language
from streams.core.policy import LIMITS, Limits
from streams.wire.cloudevents import MAX_BYTES
from streams.wire.jws import MAX_SIGNED


def _worker_id() -> str:
    return f"{socket.gethostname()}-{os.getpid()}"


class Settings(BaseSettings):
    """Everything a worker or a command takes from its environment."""

    model_config = SettingsConfigDict(env_prefix="DOORWARD_", frozen=True, extra="forbid", allow_inf_nan=False)

    kafka_bootstrap: str = Field("127.0.0.1:9092", description="HOST:PORT[,HOST:PORT] of the brokers.")
    kafka_security: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    kafka_username: str | None = None
    kafka_password: SecretStr | None = None
    kafka_ca: Path | None = Field(None, description="PEM file of the authority that signed the brokers' certificates.")

    group: str = Field(
        "doorward", min_length=1, description="The consumer group; all workers of a deployment share it."
    )
    worker: str = Field(
        default_factory=_worker_id, min_length=1, description="This worker's id: the group member's client id."
    )
    data: Path = Field(Path(".doorward/worker"), description="A folder of this worker's own: RocksDB lives in it.")

    trust: Path | None = Field(None, description="JWK Set of the keys that may sign policy documents.")
    audience: str = Field("doorward", min_length=1, description="This deployment's name in signed documents.")
    contest: str | None = Field(None, description="Where a refused person can contest, when the document doesn't say.")
    language: Language = Field("en", description="Language of receipts' texts; any can be shown in others (schemas).")
    geo: Annotated[tuple[Path, ...], NoDecode] = Field(
        (), description="MMDB files, in order of precedence, separated as in PATH; none: the shipped country snapshot."
    )
    geo_manifest: Path | None = Field(
        None, description="Instead of DOORWARD_GEO: the manifest of `doorward geo adopt`, followed while running."
    )
    geo_max_change: float = Field(
        0.05, ge=0.0, le=1.0, description="Share of live verdicts that a new geo build may change at once."
    )
    geo_max_age: float = Field(
        0.0, ge=0.0, description="Days since the newest geo file's build for which `/readyz` is content; 0: for ever."
    )
    anonymity_max_age: float = Field(
        45.0, gt=0.0, description="Days since its build for which service documents may rely on an anonymity file."
    )
    anonymity_min_bytes: int = Field(
        1 << 20, ge=0, description="Least size of an anonymity file that service documents may rely on."
    )
    anonymity_canaries: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Addresses, separated by commas, known to be anonymised: an anonymity file must list them before "
        "service documents may rely on it. A manifest's own canaries do too.",
    )
    seal_keys: Annotated[tuple[Path, ...], NoDecode] = Field(
        (),
        description="Key files, separated as in PATH, that seal addresses of live sessions and stamp their records: "
        "the first seals and stamps, all open and are known. None: no address is kept, sweeps over `network` rules and "
        "new geo builds pass over people already in, and forged session records are believed.",
    )

    lateness: float = Field(
        21_600.0, ge=1.0, description="Seconds after a leave for which its participation's late events are recognised."
    )
    session_ttl: float = Field(
        86_400.0, ge=1.0, description="Seconds without an event after which a live session is taken for ended."
    )
    remind: float = Field(
        30.0, ge=0.1, description="Seconds after which a removal without a leave is said again; doubles, up to 16-fold."
    )
    standbys: int = Field(0, ge=0, description="Copies of each partition's sessions kept by other workers.")

    max_document_bytes: int = Field(
        LIMITS.signed,
        ge=65_536,
        le=MAX_SIGNED,
        description="Largest signed document, in bytes; `policies` must take records of that size. "
        "This and the next two are the same for every worker and every command.",
    )
    max_rules: int = Field(LIMITS.rules, ge=1, le=100_000, description="Most rules in a document.")
    max_values: int = Field(LIMITS.values, ge=1, le=1_000_000, description="Most values in a list of a condition.")
    max_event_bytes: int = Field(MAX_BYTES, ge=1024, le=16 * MAX_BYTES, description="Largest event, in bytes.")
    session_timeout: float = Field(10.0, ge=1.0, le=300.0, description="Seconds without heartbeat until expelled.")
    fetch_pace: float = Field(0.004, ge=0.0, le=1.0, description="Least seconds between two fetches from one broker.")
    stall_timeout: float = Field(30.0, ge=2.0, description="Seconds without progress until a hung worker ends itself.")
    fuse_share: float = Field(0.05, gt=0.0, le=1.0, description="Share of `internal` dead letters that blows the fuse.")
    fuse_sample: int = Field(100, ge=1, description="Least events before the fuse may blow.")

    metrics_host: str = "127.0.0.1"
    metrics_port: int = Field(0, ge=0, le=65535, description="0: any free port, logged at the start.")
    metrics_certificate: Path | None = Field(
        None, description="PEM file to serve metrics and health by TLS with; the next two belong to it."
    )
    metrics_key: Path | None = None
    metrics_clients: Path | None = Field(
        None, description="PEM file of the authority that signs clients' certificates."
    )
    metrics_urls: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="For `doorward top` and `status`: where workers serve their metrics, separated by commas."
    )
    tracing_endpoint: str | None = Field(
        None,
        description="Base URL of a collector of traces (OpenTelemetry, OTLP over HTTP; /v1/traces is added); none: no "
        "traces. Needs the extra `otel`.",
    )
    tracing_ratio: float = Field(
        0.01, ge=0.0, le=1.0, description="Share of the joins in no trace that begin one; one in a trace is as its own."
    )
    tracing_cap: int = Field(
        100, ge=1, le=10_000, description="Most spans a second of one worker, whoever asks for them."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @field_validator("geo", "seal_keys", mode="before")
    @classmethod
    def _split_paths(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(Path(part) for part in value.split(os.pathsep) if part)
        return value

    @field_validator("metrics_urls", mode="before")
    @classmethod
    def _urls(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        urls = tuple(part.strip() for part in value.split(",") if part.strip())
        for url in urls:
            Target.read(url)
        return urls

    @field_validator("anonymity_canaries", mode="before")
    @classmethod
    def _addresses(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        texts = tuple(part.strip() for part in value.split(",") if part.strip())
        for number, text in enumerate(texts, 1):
            try:
                address.parse(text)
            except address.BadAddress as exc:
                raise ValueError(f"address {number}: {exc}") from None
        return texts

    @field_validator("tracing_endpoint")
    @classmethod
    def _base_url(cls, value: str | None) -> str | None:
        if value is not None:
            url = urlsplit(value)
            if url.scheme not in ("http", "https") or not url.hostname or url.port == 0 or url.query or url.fragment:
                raise ValueError("not a URL like http://127.0.0.1:4318")
            if "@" in url.netloc:  # `config show` and the log would show them
                raise ValueError("must name no user or password; OTEL_EXPORTER_OTLP_HEADERS is for those")
        return value

    @field_validator("geo_manifest")
    @classmethod
    def _instead_of_files(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is not None and info.data.get("geo"):
            raise ValueError("DOORWARD_GEO must be empty with it; the manifest names the files")
        return value

    def standards(self) -> Standards:
        """What anonymity files are held to (ruling 33)."""
        return Standards(
            max_age=round(self.anonymity_max_age * instants.DAY),
            min_size=self.anonymity_min_bytes,
            canaries=self.anonymity_canaries,
        )

    def meaning(self, trust: str, vocabulary: str, *, sandbox: bool) -> Meaning:
        """What the policy table's rows depend on: a trust set, by its digest, an edition of ISO 3166, and these."""
        return Meaning(
            vocabulary=vocabulary,
            audience=self.audience,
            trust=trust,
            contest=self.contest,
            key_age=not sandbox,
            limits=self.limits(),
        )

    def limits(self) -> Limits:
        """The greatest sizes of documents."""
        return Limits(self.max_document_bytes, self.max_rules, self.max_values)

    @model_validator(mode="after")
    def _all_or_nothing(self) -> Self:
        files = [self.metrics_certificate, self.metrics_key, self.metrics_clients]
        if any(files) and not all(files):
            raise ValueError("DOORWARD_METRICS_CERTIFICATE, _KEY and _CLIENTS go together")
        return self

    def metrics_tls(self) -> Tls | None:
        """What metrics and health are served with."""
        if self.metrics_certificate is None or self.metrics_key is None or self.metrics_clients is None:
            return None
        return Tls(self.metrics_certificate, self.metrics_key, self.metrics_clients)

    def certificates(self) -> list[Path]:
        """Files with certificates that end some day."""
        files = (self.kafka_ca, self.metrics_certificate, self.metrics_clients)
        return [file for file in files if file is not None]

    def connection(self) -> Connection:
        """How to connect to Kafka."""
        return Connection(
            bootstrap=self.kafka_bootstrap,
            client_id=self.worker,
            security=self.kafka_security,
            mechanism=self.kafka_mechanism,
            username=self.kafka_username,
            password=self.kafka_password.get_secret_value() if self.kafka_password else None,
            ca=self.kafka_ca,
        )
