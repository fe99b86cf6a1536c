"""Asking workers for their pages (``health``), as Prometheus and Kubernetes do.

All are asked at the same time, each in a thread of its own, and none may keep the others waiting: whoever has not
answered in time has not answered. Neither a proxy of the environment nor a redirection is followed.
"""

import ssl
import time
from collections.abc import Sequence
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from math import isfinite, isnan
from pathlib import Path
from threading import Thread
from typing import Final, NamedTuple, Self
from urllib.parse import urlsplit

from prometheus_client.parser import text_string_to_metric_families

from streams.core.cluster import READY, Look
from streams.core.exposition import Page, Series

MOST_BYTES: Final = 4 << 20
"""Of an answer; a worker's metrics are some 20 KB."""
_METRICS: Final = "/metrics"
_CHUNK: Final = 1 << 16
_COUNTED: Final = {"counter": ("_total",), "histogram": ("_bucket", "_count")}
"""Which samples only rise, by the type of their family."""


class Target(NamedTuple):
    """A worker's server.

    Attributes:
        scheme: http or https.
        host: its name or address.
        port: where it listens.
        base: the path that its pages are below; "" mostly.
    """

    scheme: str
    host: str
    port: int
    base: str

    @classmethod
    def read(cls, url: str) -> Self:
        """By the URL of its metrics; the path may be left out. Raises ValueError for what is no such URL."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("not a URL such as http://127.0.0.1:9100/metrics")
        if parts.username is not None or parts.query or parts.fragment:
            raise ValueError("a user name, a query or a fragment has no place in it")
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        return cls(parts.scheme, parts.hostname, port, parts.path.rstrip("/").removesuffix(_METRICS))

    @property
    def name(self) -> str:
        """What people know it by."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}{self.base}"


class NoAnswer(Exception):
    """In a few words."""


def client_context(authority: Path | None, certificate: Path | None, key: Path | None) -> ssl.SSLContext:
    """The client's side of TLS, from PEM files.

    Args:
        authority: that signs the servers' certificates; None: those that the system trusts.
        certificate: the client's, where servers ask for one.
        key: its key; None: it is in the same file.

    Raises:
        OSError: a file cannot be read, or, as ssl.SSLError, is not what it should be.
    """
    context = ssl.create_default_context(cafile=str(authority) if authority else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    return context


def look(
    targets: Sequence[Target], seconds: float, context: ssl.SSLContext | None = None, *, checks: bool = False
) -> list[Look]:
    """Look at each worker, in the order given; blocks until all have answered or the time is over.

    Args:
        targets: whom to ask.
        seconds: it may take in all.
        context: for those that speak TLS; None: as ``client_context`` without files.
        checks: ask for ``/livez`` and ``/readyz`` too.
    """
    until = time.monotonic() + seconds
    looks = [Look(target.name, error=f"no answer within {seconds:g} s") for target in targets]

    def ask(place: int) -> None:
        try:
            looks[place] = _ask(targets[place], until, context, checks=checks)
        except NoAnswer as exc:
            looks[place] = Look(targets[place].name, error=str(exc))

    threads = [Thread(target=ask, args=(place,), name="look", daemon=True) for place in range(len(targets))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    return list(looks)  # a copy: who answers too late changes nothing any more


def _ask(target: Target, until: float, context: ssl.SSLContext | None, *, checks: bool) -> Look:
    not_live = _failed(target, "/livez", until, context) if checks else ()
    not_ready = _failed(target, "/readyz", until, context) if checks else ()
    status, text = _get(target, _METRICS, until, context)
    if status != HTTPStatus.OK:
        raise NoAnswer(f"{_METRICS} answers with status {status}")
    page = read_page(text, time.monotonic())
    if not page.has(READY):
        raise NoAnswer("not the metrics of a worker")
    return Look(target.name, page, None, not_live, not_ready)


def _failed(target: Target, path: str, until: float, context: ssl.SSLContext | None) -> tuple[str, ...]:
    """The names of the checks that failed."""
    status, text = _get(target, path, until, context)
    if status == HTTPStatus.OK:
        return ()
    lines = [line.removesuffix(" failed") for line in text.splitlines() if line.endswith(" failed")]
    names = tuple(name for name in lines if name.isidentifier() and name.isascii())
    return names or (f"{path} answers with status {status}",)


def _get(target: Target, path: str, until: float, context: ssl.SSLContext | None) -> tuple[int, str]:
    """Status and text of an answer. Raises NoAnswer."""
    connection = _connection(target, until, context)
    try:
        connection.request("GET", target.base + path, headers={"Accept": "text/plain"})
        answer = connection.getresponse()
        body = bytearray()
        while chunk := answer.read1(_CHUNK):
            body += chunk
            if len(body) > MOST_BYTES:
                raise NoAnswer(f"{path} is larger than {MOST_BYTES >> 20} MiB")
            _left(until)  # each piece may come in time, and all of them never
        return answer.status, body.decode()
    except TimeoutError:
        raise NoAnswer("no answer in time") from None
    except ssl.SSLError as exc:
        raise NoAnswer(f"TLS: {exc.reason or exc}") from None
    except OSError as exc:
        raise NoAnswer((exc.strerror or str(exc) or type(exc).__name__).lower()) from None
    except (HTTPException, UnicodeError):
        raise NoAnswer(f"{path} does not answer as a worker does") from None
    finally:
        connection.close()


def _connection(target: Target, until: float, context: ssl.SSLContext | None) -> HTTPConnection:
    if target.scheme == "https":
        return HTTPSConnection(target.host, target.port, timeout=_left(until), context=context)
    return HTTPConnection(target.host, target.port, timeout=_left(until))


def _left(until: float) -> float:
    """Seconds left. Raises NoAnswer where none are."""
    left = until - time.monotonic()
    if left <= 0:
        raise NoAnswer("no answer in time")
    return left


def read_page(text: str, at: float) -> Page:
    """A page in Prometheus' text format; values that are no finite numbers are left out.

    Source of the format: "Exposition formats", Prometheus documentation, text format 0.0.4.

    Raises:
        NoAnswer: the text is none.
    """
    gauges: dict[Series, float] = {}
    counts: dict[Series, float] = {}
    try:
        for family in text_string_to_metric_families(text):
            rising = _COUNTED.get(family.type, ())
            for sample in family.samples:
                if rising and sample.name.endswith("_bucket") and isnan(float(sample.labels["le"])):
                    raise ValueError("a bucket without a bound")
                if isfinite(sample.value):
                    into = counts if sample.name.endswith(rising) and rising else gauges
                    into[sample.name, frozenset(sample.labels.items())] = sample.value
    except (ValueError, IndexError, KeyError, TypeError):  # the parser's own words are about its insides
        raise NoAnswer(f"{_METRICS} is not Prometheus' text format") from None
    return Page(at, gauges, counts)
