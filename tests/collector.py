"""The receiving end of OTLP over HTTP: keeps the spans it is sent, decoded by OpenTelemetry's own protocol buffers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Collector:
    """What was received."""

    def __init__(self, delay: float, status: int) -> None:
        self.delay = delay  # seconds until it answers
        self.status = status
        self.posts: list[bytes] = []
        self.endpoint = ""

    def requests(self) -> list[Any]:
        """Each post."""
        return [ExportTraceServiceRequest.FromString(post) for post in self.posts]

    def spans(self) -> list[Any]:
        """Each span."""
        resources = [resource for request in self.requests() for resource in request.resource_spans]
        return [span for resource in resources for scope in resource.scope_spans for span in scope.spans]

    def wait_for(self, reached: Callable[[], bool], seconds: float = 10.0) -> None:
        """Block until something is so."""
        until = time.monotonic() + seconds
        while not reached():
            assert time.monotonic() < until, f"{len(self.posts)} posts, {len(self.spans())} spans"
            time.sleep(0.02)


@contextmanager
def collecting(*, delay: float = 0.0, status: int = 200) -> Iterator[Collector]:
    """A collector on a free port of loopback."""
    collector = Collector(delay, status)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            assert (self.path, self.headers["content-type"]) == ("/v1/traces", "application/x-protobuf")
            collector.posts.append(body)
            time.sleep(collector.delay)
            self.send_response(collector.status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False  # an answer that takes its time
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    collector.endpoint = f"http://127.0.0.1:{server.server_port}"
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def attributes(span: Any) -> dict[str, Any]:
    """A received span's attributes."""
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes}
