"""Workers are asked as they are served; whoever does not answer, or not so, keeps no other waiting."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest

from streams.adapters import scrape
from streams.adapters.health import Tls
from streams.adapters.metrics import Metrics
from streams.adapters.scrape import NoAnswer, Target, client_context, look, read_page
from streams.core.cluster import state
from tests.adapters.test_health import certificate, write
from tests.samples import PROPERTY
from tests.workerpages import HASH, LOOPBACK, WatchedWorker, deaf, nobody


@contextmanager
def answering(status: int, body: bytes, drip: float = 0.0) -> Iterator[Target]:
    """A server that is no worker's; with ``drip`` it sends a byte at a time."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            for place in range(len(body) if drip else 0):
                self.wfile.write(body[place : place + 1])
                time.sleep(drip)
            if not drip:
                self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

        def handle(self) -> None:
            with suppress(OSError):  # who asked has gone
                super().handle()

    server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield Target.read(f"http://{LOOPBACK}:{server.server_port}")
    server.shutdown()
    server.server_close()


# -- whom to ask -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "name", "base"),
    [
        ("http://10.0.0.1:9100/metrics", "10.0.0.1:9100", ""),
        ("http://10.0.0.1:9100", "10.0.0.1:9100", ""),
        ("https://worker-1.example/metrics/", "worker-1.example:443", ""),
        ("http://gateway/w1/metrics", "gateway:80/w1", "/w1"),
        ("http://[::1]:9100/metrics", "[::1]:9100", ""),
    ],
)
def test_a_worker_by_its_url(url: str, name: str, base: str) -> None:
    target = Target.read(url)
    assert (target.name, target.base) == (name, base)


@pytest.mark.parametrize(
    "url",
    [
        *(
            "",
            "10.0.0.1:9100",
            "/metrics",
            "ftp://a/metrics",
            "http://",
            "http://a:x/",
            "http://a:70000/",
            "http://[a/",
        ),
        *("http://user:secret@a/metrics", "http://a/metrics?name=x", "http://a/metrics#x"),
    ],
)
def test_what_is_no_url_of_a_worker(url: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - some of the words are urlsplit's
        Target.read(url)


# -- pages -------------------------------------------------------------------------------------------------------


def test_a_workers_page_is_read_as_it_is_served() -> None:
    worker = WatchedWorker()
    worker.answer(10, seconds=0.003, removes=2)
    worker.metrics.lag.set(3)
    worker.metrics.dead_letters.labels("schema").inc(4)
    [found] = look([Target.read(worker.url)], 5.0)
    assert (found.name, found.error) == (worker.name, None)
    page = found.page
    assert page is not None
    stands = state(page)
    assert (stands.ready, stands.partitions, stands.lag_records) == (True, 2, 3)
    assert (stands.policy_offset, stands.policy_documents, stands.policy_index_hash) == (42, 12, HASH)
    assert page.gauge("process_start_time_seconds") > 0
    decided = {labels: count for (name, labels), count in page.counts.items() if name == "doorward_decisions_total"}
    assert sum(decided.values()) == 17
    bucket = ("doorward_decision_latency_seconds_bucket", frozenset({("le", "0.005")}))
    assert page.counts[bucket] == 10
    assert not any(name.endswith(("_sum", "_created")) for name, _ in page.counts), "these may go back"


def test_every_metric_of_a_worker_can_be_read() -> None:
    page = read_page(generate_latest(Metrics().registry).decode(), 1.5)
    assert page.at == 1.5
    assert state(page).ready is False


def test_what_is_no_number_is_left_out() -> None:
    page = read_page("# TYPE a gauge\na NaN\n# TYPE b gauge\nb 2\n# TYPE c gauge\nc +Inf\n", 0.0)
    assert {name for name, _ in page.gauges} == {"b"}


@pytest.mark.parametrize("label", ["", '{le=""}', '{le="much"}', '{le="NaN"}', '{of="0.1"}'])
def test_a_bucket_without_a_bound_is_no_workers(label: str) -> None:
    with pytest.raises(NoAnswer, match="not Prometheus' text format"):
        read_page(f"# TYPE h histogram\nh_bucket{label} 1\n", 0.0)


@PROPERTY
@given(st.text(alphabet=st.sampled_from('ab_{}=",\\ #\n01.eTYPEHELPcounter')))
def test_any_text_is_a_page_or_is_said_to_be_none(text: str) -> None:
    with suppress(NoAnswer):
        read_page(text, 0.0)


# -- answers -----------------------------------------------------------------------------------------------------


def test_checks_that_failed_are_named() -> None:
    worker = WatchedWorker()
    worker.failing |= {"loop", "geo", "fuse"}
    [found] = look([Target.read(worker.url)], 5.0, checks=True)
    assert (found.not_live, found.not_ready) == (("loop",), ("geo", "fuse"))
    assert found.page is not None, "a worker that is not ready is looked at like any other"
    [found] = look([Target.read(worker.url)], 5.0)
    assert (found.not_live, found.not_ready) == ((), ()), "not asked for"


def test_whoever_does_not_answer_keeps_nobody_waiting() -> None:
    worker = WatchedWorker()
    with deaf() as silent:
        urls = [nobody(), f"http://{LOOPBACK}:{silent.getsockname()[1]}", worker.url]
        started = time.monotonic()
        gone, late, well = look([Target.read(url) for url in urls], 1.0)
        took = time.monotonic() - started
    assert gone.error == "connection refused"
    assert late.error in ("no answer in time", "no answer within 1 s")
    assert well.page is not None
    assert took < 3.0


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (200, b"# TYPE go_threads gauge\ngo_threads 7\n", "not the metrics of a worker"),
        (200, b"<html>", "/metrics is not Prometheus' text format"),
        (200, b"\xff\xfe", "/metrics does not answer as a worker does"),
        (404, b"not here", "/metrics answers with status 404"),
        (302, b"", "/metrics answers with status 302"),
    ],
)
def test_what_is_no_worker_says_so(status: int, body: bytes, error: str) -> None:
    with answering(status, body) as target:
        [found] = look([target], 5.0)
    assert found.error == error


def test_checks_that_are_none_are_not_passed() -> None:
    with answering(404, b"\x1b[2J failed\n") as target:
        assert scrape._failed(target, "/readyz", time.monotonic() + 5, None) == ("/readyz answers with status 404",)


def test_an_endless_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(200, b"a 1\n" * 40, drip=0.05) as target:
        [found] = look([target], 0.3)
        assert found.error in ("no answer in time", "no answer within 0.3 s")
    monkeypatch.setattr(scrape, "MOST_BYTES", 1 << 20)
    with answering(200, b"#" * (3 << 20)) as target:
        [found] = look([target], 5.0)
    assert found.error == "/metrics is larger than 1 MiB"


def test_workers_that_ask_for_a_certificate(tmp_path: Path) -> None:
    authority = certificate("authority")
    ca, _ = write(tmp_path, "ca", authority)
    worker = WatchedWorker(tls=Tls(*write(tmp_path, "server", certificate("localhost", authority)), ca))
    target = Target.read(worker.url.replace(LOOPBACK, "localhost"))
    ours, key = write(tmp_path, "client", certificate("scraper", authority))
    [found] = look([target], 5.0, client_context(ca, ours, key), checks=True)
    assert (found.error, found.not_ready) == (None, ())
    [without] = look([target], 5.0, client_context(ca, None, None))
    assert without.page is None
    [untrusted] = look([target], 5.0)
    assert untrusted.error == "TLS: CERTIFICATE_VERIFY_FAILED"
    with pytest.raises(OSError, match="No such file"):
        client_context(tmp_path / "nothing", None, None)
