"""Faults of our own in one session, kept from the others."""

from types import TracebackType

import structlog

from streams.adapters.metrics import Metrics

log = structlog.get_logger(__name__)


class Contained:
    """A block for one session: a fault of our own in it is counted, and the others are decided all the same.

    Without it a session that nothing can be said of, because its decision is larger than a record may be, would end
    each worker that takes it on. Every kind of fault is logged once: there may be a million sessions.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._seen: set[str] = set()

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if not isinstance(exc, Exception):
            return False
        self._metrics.session_faults.labels("internal").inc()
        name = type(exc).__name__
        if name not in self._seen:
            self._seen.add(name)
            log.error("a session could not be decided again; it keeps its verdict", error=name)
        return True
