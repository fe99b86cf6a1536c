"""Doorward's Faust runtime around an agent that decides and remembers nothing.

    python -m benchmarks.peers.stateless

Not a product: the worker always has sessions.

What it shows: beside the raw loop that decides only, what Faust and all of `streams/runtime` cost by themselves: the
consumer's thread, chunks, the lease and its checks, fences around each batch, exact commits, the watchdog. The agent
has the shape of the worker's: each record's fault contained, one outbox a chunk, acknowledged before the chunk is
finished.

What it leaves out of the worker beside sessions: dead letters, report-mode decisions, metrics, traces, the fuse, sweeps
and the policy log. So it says nothing of the worker's cost.
"""

import os
from typing import Any

import structlog

from benchmarks.peers.job import Job, now
from streams.adapters import logs
from streams.runtime import process
from streams.runtime.application import ChunkedApp
from streams.runtime.config import faust_options
from streams.runtime.produce import Outbox
from streams.runtime.source import Chunk
from streams.runtime.thread import FetchSettings
from streams.settings import Settings
from streams.wire.cloudevents import CONTENT_TYPE_HEADERS

log = structlog.get_logger(__name__)


class Agent:
    """Answers chunks.

    Args:
        app: whose chunks they are.
    """

    def __init__(self, app: ChunkedApp) -> None:
        self._app = app
        self._job = Job()
        self._decisions = os.environ.get("DECISIONS", "decisions")

    async def run(self, chunks: Any) -> None:
        """Answer chunks until Faust stops the stream."""
        async for chunk in chunks:
            with chunk:
                await self._answer(chunk)

    async def _answer(self, chunk: Chunk) -> None:
        at, outbox = now(), Outbox(self._app.batches, counts=self._app.source.counts)
        for partition, records in chunk.parts.items():
            for record in records:
                self._decide(record, partition.partition, at, outbox)
        await outbox.send(chunk.check)

    def _decide(self, record: Any, partition: int, at: int, outbox: Outbox) -> None:
        try:
            event = self._job.event(record.key, record.value, record.headers)
            value = None if event is None else self._job.answer(event, partition, record.offset, at)
            if value is not None:
                outbox.add(self._decisions, partition, record.key, value, None, CONTENT_TYPE_HEADERS)
        except Exception:  # our own fault, whatever it is: the rest of the chunk must not pay for it
            log.exception("an event failed", partition=partition, offset=record.offset)


def main() -> None:
    if "SESSIONS" in os.environ:
        raise SystemExit("with sessions there is the worker itself")
    settings = Settings()
    logs.configure(settings.log_level, settings.worker)
    settings.data.mkdir(parents=True, exist_ok=True)
    app = ChunkedApp(
        settings.group,
        sources={"joins"},
        fetch=FetchSettings(pace=settings.fetch_pace),
        patience=settings.stall_timeout,
        **faust_options(
            bootstrap=settings.kafka_bootstrap,
            client_id=settings.worker,
            data_dir=settings.data / "faust",
            session_timeout=settings.session_timeout,
        ),
    )
    app.agent(app.chunks, name="joins")(Agent(app).run)

    @app.task
    async def start() -> None:
        process.settle()
        app.source.open()

    process.run(app)


if __name__ == "__main__":
    main()
