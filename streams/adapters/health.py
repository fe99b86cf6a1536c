"""The worker's pages for machines: ``/livez``, ``/readyz`` and ``/metrics``, on a small server of their own.

It runs in threads, so that it answers while the event loop stands still, which is when somebody wants to know. It
listens on loopback unless told otherwise, and with a certificate it speaks TLS and takes only clients whose own is
signed by the authority it was given. Where its port is in use, the worker decides joins without it, and tries again.

The two checks are Kubernetes' (its API server's, too): 200 and ``ok``, or 503 and the names of the checks that failed.
They say no more than that: whoever may see details reads the log.
"""

import errno
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import structlog
from prometheus_client import CollectorRegistry, exposition

READ_SECONDS: Final = 5.0
"""How long a client may take over its request."""
MOST_CLIENTS: Final = 16
"""Answered at the same time; others are turned away, so that no crowd of slow ones takes the worker's memory."""
RETRY_SECONDS: Final = 5.0
"""Until a port that was in use is tried again."""

log = structlog.get_logger(__name__)

Check = Callable[[], bool]
"""Whether something is as it should be. Called from another thread than the event loop's: it may only read."""


@dataclass(frozen=True)
class Tls:
    """Files (PEM): the server's certificate and key, and the authority that clients' certificates are signed by."""

    certificate: Path
    key: Path
    clients: Path

    def context(self) -> ssl.SSLContext:
        """For the server's side. Raises OSError, of which ssl.SSLError is one, for files that are none."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(self.clients))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(self.certificate, self.key)
        return context


def serve(
    host: str,
    port: int,
    *,
    registry: CollectorRegistry,
    live: Mapping[str, Check],
    ready: Mapping[str, Check],
    tls: Tls | None = None,
) -> int:
    """Answer for as long as the process lives; returns the port.

    Args:
        host: where to listen.
        port: likewise; 0 for any that is free.
        registry: the metrics.
        live: what is looked at for ``/livez``, by name.
        ready: for ``/readyz``.
        tls: None: plain HTTP.

    Raises:
        OSError: it cannot listen there, or a file of ``tls`` cannot be used.
    """
    context = tls.context() if tls else None
    server = _Server((host, port), {"/livez": live, "/readyz": ready}, registry, context)
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
    return int(server.server_port)


def once_free(listen: Callable[[], int]) -> int | None:
    """Listen; where the port is in use, say so in a line and go on trying. Joins are decided whoever looks on.

    Args:
        listen: ``serve``, with all that it takes; called from another thread after the first time.

    Returns:
        The port, or None.

    Raises:
        OSError: what waiting does not mend.
    """
    try:
        return listen()
    except OSError as exc:
        if exc.errno != errno.EADDRINUSE:
            raise
        log.error("metrics and health are not served: the port is in use; trying again")
    threading.Thread(target=_go_on_trying, args=(listen,), name="health-retry", daemon=True).start()
    return None


def _go_on_trying(listen: Callable[[], int]) -> None:
    while True:
        time.sleep(RETRY_SECONDS)
        with suppress(OSError):
            log.info("metrics and health are served", port=listen())
            return


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(
        self,
        where: tuple[str, int],
        checks: Mapping[str, Mapping[str, Check]],
        registry: CollectorRegistry,
        context: ssl.SSLContext | None,
    ) -> None:
        self.checks = checks
        self.registry = registry
        self._context = context
        self._free = threading.BoundedSemaphore(MOST_CLIENTS)
        super().__init__(where, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            request.settimeout(READ_SECONDS)
            if self._context is not None:  # here, and not as it is accepted: a slow handshake would stop all others
                request = self._context.wrap_socket(request, server_side=True)
            super().process_request_thread(request, client_address)
        except OSError:  # no handshake
            self.shutdown_request(request)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away, or was too slow: nothing that anybody would have to look at."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version = "doorward"
    sys_version = ""
    timeout = READ_SECONDS

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path == "/metrics":
            self._metrics()
        elif (checks := self.server.checks.get(path)) is not None:
            failed = [name for name, check in checks.items() if not _passes(check)]
            text = "".join(f"{name} failed\n" for name in failed) or "ok\n"
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE if failed else HTTPStatus.OK, text.encode(), "text/plain")
        else:
            self._answer(HTTPStatus.NOT_FOUND, b"not here\n", "text/plain")

    do_HEAD = do_GET  # noqa: N815 - the name that the base class looks for

    def _metrics(self) -> None:
        encoder, content_type = exposition.choose_encoder(self.headers.get("Accept", ""))
        self._answer(HTTPStatus.OK, encoder(self.server.registry), content_type)

    def _answer(self, code: HTTPStatus, body: bytes, content_type: str) -> None:
        with suppress(OSError):
            self.send_response(code)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged: one comes every few seconds."""


def _passes(check: Check) -> bool:
    try:
        return check()
    except Exception:
        return False
