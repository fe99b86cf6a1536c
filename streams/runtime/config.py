"""Faust's settings, each with its reason, and the loggers it would otherwise flood.

Everything Faust is told comes from `faust_options`; nothing else in the repository sets a Faust setting. What isn't
named here keeps Faust's default, in particular `stream_buffer_maxsize` (4096; small values stall) and
`stream_wait_empty` (a stop waits for the chunk in hand).
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import faust
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth
from faust.types.auth import CredentialsT
from mode.supervisors import CrashingSupervisor
from yarl import URL

MAX_BATCH_BYTES: Final = 1 << 20
"""Largest batch sent, bytes: just under Kafka's default `max.message.bytes` (1,048,588)."""

MAX_FETCH_BYTES: Final = 1 << 18
"""Most a fetch returns per partition, bytes. A chunk holds at most this of each partition, so it stays short; a larger
single batch is still returned whole (KIP-74)."""

ANSWER_SECONDS: Final = 15.0
"""How long a request may go unanswered, and a batch be tried."""

METADATA_MAX_AGE_MS: Final = 5_000
"""How long knowledge of topics and leaders is believed, milliseconds."""


class QuietMonitor(faust.Monitor):
    """Faust's monitor without its per-event arithmetic.

    Our numbers come from the source and are taken once a chunk. What Faust itself reads stays: `stream_inbound_time`
    and the committed and end offsets for its livelock detector, and the rebalance states it hands back.
    """

    logger = logging.getLogger("faust")  # where Faust's own lines about this service go

    def on_stream_event_in(self, tp: Any, offset: int, stream: Any, event: Any) -> None:
        """Keep what the livelock detector reads."""
        self.stream_inbound_time[tp] = self.time()

    def on_stream_event_out(self, tp: Any, offset: int, stream: Any, event: Any, state: Any = None) -> None:
        """Nothing is counted."""

    def on_message_in(self, tp: Any, offset: int, message: Any) -> None:
        """Nothing is counted."""

    def on_message_out(self, tp: Any, offset: int, message: Any) -> None:
        """Nothing is counted."""

    def on_table_get(self, table: Any, key: Any) -> None:
        """Nothing is counted."""

    def on_table_set(self, table: Any, key: Any, value: Any) -> None:
        """Nothing is counted."""

    def on_table_del(self, table: Any, key: Any) -> None:
        """Nothing is counted."""


def broker_urls(bootstrap: str) -> list[URL]:
    """`host:port[,host:port...]` as Faust wants it."""
    return [URL(f"kafka://{server.strip()}") for server in bootstrap.split(",")]


def client_options(*, bootstrap: str, client_id: str, credentials: CredentialsT | None = None) -> dict[str, Any]:
    """Keyword arguments for a plain aiokafka client (`LogReader`), to the same brokers with the same credentials."""
    return {
        "bootstrap_servers": bootstrap,
        "client_id": client_id,
        "metadata_max_age_ms": METADATA_MAX_AGE_MS,
        **credentials_to_aiokafka_auth(credentials),
    }


def faust_options(
    *,
    bootstrap: str,
    client_id: str,
    data_dir: Path,
    session_timeout: float = 6.0,
    max_poll_interval: float = 120.0,
    offset_reset: str = "earliest",
    standby_replicas: int = 0,
    credentials: CredentialsT | None = None,
) -> dict[str, Any]:
    """Keyword arguments for `ChunkedApp`.

    Args:
        bootstrap: `host:port[,host:port...]`.
        client_id: Name of this worker towards the brokers: in the group's members, in their logs and quotas.
        data_dir: Where Faust keeps RocksDB; distinct for each worker on a machine.
        session_timeout: Seconds without a heartbeat until the coordinator gives a worker's partitions to others: the
            gap after a crash. Brokers allow 6 s and more by default.
        max_poll_interval: Seconds without a poll until a worker leaves the group of its own. Above the watchdog's
            patience, which is the sharper of the two.
        offset_reset: Where a partition without a committed offset begins: `earliest` or `latest`.
        standby_replicas: How many other workers keep a copy of each partition of a table, ready to take it on.
        credentials: Faust's credentials object for SASL or TLS, used by its consumer and its producer.
    """
    return {
        "broker": broker_urls(bootstrap),
        "broker_client_id": client_id,
        "broker_credentials": credentials,
        "datadir": data_dir,
        "table_standby_replicas": standby_replicas,
        # Its web server listens on every interface, without a login, and would serve our tables.
        "web_enabled": False,
        # Topics come from one manifest; a worker has no right to create any, and needs no leader topic.
        "topic_disable_leader": True,
        "topic_allow_declare": False,
        # Bytes in, bytes out: decoding is our own work, where a malformed record is an answer and not a crash.
        "key_serializer": "raw",
        "value_serializer": "raw",
        # Group membership. Four heartbeats a session. Requests must be allowed to last longer than a session, and not
        # much longer: a connection that a network has forgotten is given up only after that.
        "broker_session_timeout": session_timeout,
        "broker_heartbeat_interval": session_timeout / 4,
        "broker_max_poll_interval": max_poll_interval,
        "broker_request_timeout": max(ANSWER_SECONDS, 1.5 * session_timeout),
        # A crash repeats what was finished since the last commit; a commit costs the broker one small record.
        "broker_commit_interval": 0.5,
        # Waiting for more workers to join would only keep the streams paused.
        "stream_recovery_delay": 0.0,
        # A group leader that rejoins a broker just back from a crash may know no topics yet, and then assigns nothing
        # to anyone. It tries again when its metadata changes: by default within five minutes.
        "consumer_metadata_max_age_ms": METADATA_MAX_AGE_MS,
        "producer_metadata_max_age_ms": METADATA_MAX_AGE_MS,
        "consumer_auto_offset_reset": offset_reset,
        "consumer_max_fetch_size": MAX_FETCH_BYTES,
        # Outputs are awaited batch by batch: waiting for more to send would only delay the answer.
        "producer_acks": -1,
        "producer_linger": 0.0,
        "producer_max_batch_size": MAX_BATCH_BYTES,
        # Faust's 1200 s would hide a stuck send for 20 minutes. Longer than brokers need to do without one that died
        # (9 s by default): until then a record may lack its replicas. Twice this is the watchdog's usual patience, and
        # a try must end before that to be known for one.
        "producer_request_timeout": ANSWER_SECONDS,
        # An agent that failed takes the process down. Faust's default restarts it on the next event: a skipped one.
        "agent_supervisor": CrashingSupervisor,
        "Monitor": QuietMonitor,
        "worker_redirect_stdouts": False,
    }


def quiet_loggers(names: Sequence[str] = ("aiokafka", "faust", "mode")) -> None:
    """Set the frameworks' loggers to WARNING.

    They log several lines per fetch at DEBUG, and Faust's worker sets the root logger to DEBUG for its spinner;
    building those lines took a quarter of the interpreter's time. `process.Worker` leaves the root logger alone.
    """
    for name in names:
        logging.getLogger(name).setLevel(logging.WARNING)
