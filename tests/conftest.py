"""What all tests share: the embedded Kafka. A test that asks for a broker is marked `broker` by that alone."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from streams.dev.kafka import EmbeddedKafka

_BROKER_FIXTURES = {"kafka", "kafka3"}


@pytest.fixture(scope="session")
def kafka() -> Iterator[EmbeddedKafka]:
    """One node for the whole run: name topics and groups after the test, and leave the node itself alone."""
    with EmbeddedKafka() as started:
        yield started


@pytest.fixture(scope="module")
def kafka3() -> Iterator[EmbeddedKafka]:
    """Three nodes for one module, whose tests may kill nodes but leave all of them running again."""
    with EmbeddedKafka(nodes=3) as started:
        yield started


def pytest_configure() -> None:
    # A process started in the background, as xdist's are, may ignore Ctrl-C; so would every program tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _BROKER_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker("broker")
