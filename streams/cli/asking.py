"""Whom ``top`` and ``status`` ask: the options that say where workers serve their metrics.

What may live here: those options, and how a command ends when they are of no use.
"""

import ssl
from pathlib import Path

import typer

from streams.adapters.scrape import Target, client_context
from streams.cli import console

Urls = typer.Option(
    "--metrics",
    metavar="URL",
    help="Of a worker's metrics, as http://127.0.0.1:9100/metrics; repeatable, or several with commas between. "
    "None: those of DOORWARD_METRICS_URLS.",
)
Authority = typer.Option("--cacert", help="PEM file of the authority that signs the workers' certificates.")
Certificate = typer.Option("--cert", help="PEM file of our certificate, for workers that ask for one.")
Key = typer.Option("--key", help="PEM file of its key. None: it is in the same file.")


def targets(urls: list[str] | None) -> list[Target]:
    """The workers, each once, in the order given. Ends the command where there are none, or one is no URL."""
    found: dict[str, Target] = {}
    for url in (part.strip() for given in urls or console.settings().metrics_urls for part in given.split(",")):
        if not url:
            continue
        try:
            target = Target.read(url)
        except ValueError as exc:
            console.fail(f"--metrics: {url}: {exc}", console.BAD_INPUT)
        found.setdefault(target.name, target)
    if not found:
        console.fail("whom to ask? give --metrics URL, or set DOORWARD_METRICS_URLS", console.BAD_INPUT)
    return list(found.values())


def context(
    workers: list[Target], authority: Path | None, certificate: Path | None, key: Path | None
) -> ssl.SSLContext | None:
    """How to speak TLS, if any worker does. Ends the command on a file that is of no use."""
    if key is not None and certificate is None:
        console.fail("--key goes with --cert", console.BAD_INPUT)
    if all(worker.scheme == "http" for worker in workers):
        return None
    try:
        return client_context(authority, certificate, key)
    except ssl.SSLError as exc:
        console.fail(f"--cacert, --cert, --key: {exc.reason or exc}", console.BAD_INPUT)
    except OSError as exc:
        console.fail(f"--cacert, --cert, --key: {exc.strerror}", console.UNAVAILABLE)
