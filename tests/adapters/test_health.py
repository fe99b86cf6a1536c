"""The pages for machines: they answer whatever the rest of the process does, and nobody who should not be answered."""

import datetime
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from functools import partial
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from prometheus_client import CollectorRegistry, Gauge
from structlog.testing import capture_logs

from streams.adapters import health
from streams.adapters.certificates import earliest_end
from streams.adapters.health import Check, Tls

LOOPBACK = "127.0.0.1"


def start(live: dict[str, Check] | None = None, ready: dict[str, Check] | None = None, tls: Tls | None = None) -> int:
    registry = CollectorRegistry()
    Gauge("doorward_ready", "Ready.", registry=registry).set(1)
    return health.serve(LOOPBACK, 0, registry=registry, live=live or {}, ready=ready or {}, tls=tls)


def get(port: int, path: str, context: ssl.SSLContext | None = None) -> tuple[int, str]:
    scheme = "https" if context else "http"
    try:
        with urllib.request.urlopen(f"{scheme}://{LOOPBACK}:{port}{path}", timeout=5, context=context) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as exc:
        return exc.code, exc.read().decode()


def answers_by_and_by(port: int) -> None:
    deadline = time.monotonic() + 5
    while True:
        try:
            assert get(port, "/livez") == (200, "ok\n")
            return
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_checks_that_fail_are_named_and_nothing_more_is_said() -> None:
    def broken() -> bool:
        raise RuntimeError("the password is sesame")

    state = {"loop": True}
    port = start(live={"loop": lambda: state["loop"]}, ready={"policies": lambda: True, "geo": broken})
    assert get(port, "/livez") == (200, "ok\n")
    state["loop"] = False
    assert get(port, "/livez?verbose") == (503, "loop failed\n")
    assert get(port, "/readyz") == (503, "geo failed\n")
    assert get(port, "/") == (404, "not here\n")
    status, text = get(port, "/metrics")
    assert status == 200
    assert "doorward_ready 1.0" in text


def test_a_head_has_no_body_and_other_methods_are_refused() -> None:
    port = start()
    for method, status in (("HEAD", 200), ("POST", 501)):
        request = urllib.request.Request(f"http://{LOOPBACK}:{port}/livez", method=method)
        try:
            answer = urllib.request.urlopen(request, timeout=5)
        except urllib.error.HTTPError as exc:
            answer = exc
        assert answer.status == status
        if method == "HEAD":
            assert answer.read() == b""
            assert answer.headers["Content-Length"] == "3"


def test_clients_that_say_nothing_keep_nobody_else_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "READ_SECONDS", 0.3)
    port = start()
    idle = [socket.create_connection((LOOPBACK, port)) for _ in range(health.MOST_CLIENTS - 2)]
    assert get(port, "/livez") == (200, "ok\n")
    idle += [socket.create_connection((LOOPBACK, port)) for _ in range(8)]
    deadline = time.monotonic() + 5
    while threading.active_count() > 40 or idle[0].recv(1):  # they are let go of, those that were too many at once
        assert time.monotonic() < deadline
    answers_by_and_by(port)  # there is room again, though they are still there
    for each in idle:
        each.close()


def test_a_port_in_use_is_an_os_error() -> None:
    port = start()
    with pytest.raises(OSError, match="in use"):
        health.serve(LOOPBACK, port, registry=CollectorRegistry(), live={}, ready={})


def test_a_port_in_use_is_one_line_and_is_served_once_it_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "RETRY_SECONDS", 0.05)
    nothing = CollectorRegistry()
    with socket.create_server((LOOPBACK, 0)) as taken, capture_logs() as lines:
        port = taken.getsockname()[1]
        listen = partial(health.serve, LOOPBACK, port, registry=nothing, live={}, ready={})
        assert health.once_free(listen) is None
        time.sleep(0.2)  # some tries more
        assert [line["event"] for line in lines] == [
            "metrics and health are not served: the port is in use; trying again"
        ]
    answers_by_and_by(port)


def test_what_waiting_does_not_mend_is_an_os_error() -> None:
    with pytest.raises(OSError, match="assign"):  # an address of documentation: nobody's
        health.once_free(partial(health.serve, "192.0.2.1", 0, registry=CollectorRegistry(), live={}, ready={}))


# -- TLS ---------------------------------------------------------------------------------------------------------

Pair = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


def certificate(name: str, by: Pair | None = None, days: int = 2) -> Pair:
    key, subject = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    issuer, signer = (by[0].subject, by[1]) if by else (subject, key)
    builder = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(days=1))
    builder = builder.not_valid_after(now + datetime.timedelta(days=days))
    builder = builder.add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    return builder.sign(signer, hashes.SHA256()), key


def write(folder: Path, name: str, pair: Pair) -> tuple[Path, Path]:
    made = folder / f"{name}.pem", folder / f"{name}.key"
    made[0].write_bytes(pair[0].public_bytes(serialization.Encoding.PEM))
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    made[1].write_bytes(pair[1].private_bytes(encoding, form, serialization.NoEncryption()))
    return made


def test_with_a_certificate_only_clients_of_the_authority_are_answered(tmp_path: Path) -> None:
    authority, stranger = certificate("authority"), certificate("stranger")
    ca, _ = write(tmp_path, "ca", authority)
    tls = Tls(*write(tmp_path, "server", certificate("localhost", authority)), ca)
    port = start(tls=tls)

    def client(signed_by: Pair | None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(ca))
        context.check_hostname = False
        if signed_by is not None:
            context.load_cert_chain(*write(tmp_path, "client", certificate("scraper", signed_by)))
        return context

    assert get(port, "/livez", client(authority)) == (200, "ok\n")
    for wrong in (None, stranger):
        with pytest.raises((urllib.error.URLError, ssl.SSLError, ConnectionError)):
            get(port, "/metrics", client(wrong))
    with pytest.raises((urllib.error.URLError, ConnectionError)):
        get(port, "/metrics")
    assert get(port, "/livez", client(authority)) == (200, "ok\n"), "strangers did no harm"


def test_a_file_that_is_no_certificate_is_an_os_error(tmp_path: Path) -> None:
    ca, key = write(tmp_path, "ca", certificate("authority"))
    ca.write_text("no certificate")
    with pytest.raises(OSError):  # noqa: PT011 - its words are OpenSSL's
        start(tls=Tls(ca, key, ca))


def test_the_earliest_end_of_certificates_that_can_be_read(tmp_path: Path) -> None:
    pairs = {"a": certificate("a", days=9), "b": certificate("b", days=3)}
    files = [write(tmp_path, name, pair)[0] for name, pair in pairs.items()]
    both = tmp_path / "both.pem"
    both.write_bytes(files[0].read_bytes() + files[1].read_bytes())
    assert earliest_end([both]) == earliest_end(files) == pairs["b"][0].not_valid_after_utc.timestamp()
    assert earliest_end([tmp_path / "nothing.pem", Path(__file__)]) == 0.0
