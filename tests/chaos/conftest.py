"""What chaos files share: the sandbox that something is done to, and the storm that goes on meanwhile.

Both last as long as a file: workers take seconds to start, and another storm would use the same participations again.
What is different about a file's sandbox its own `options` say.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from streams.dev.sandbox import Sandbox
from tests.chaos.trials import ACCOUNTS, Storm, deployed


@pytest.fixture(scope="module")
def options() -> dict[str, Any]:
    """Arguments of `Sandbox`, besides its accounts: two workers with the settings users have."""
    return {}


@pytest.fixture(scope="module")
def sandbox(options: dict[str, Any]) -> Iterator[Sandbox]:
    with deployed(Sandbox(accounts=ACCOUNTS, **options)) as started:
        yield started


@pytest.fixture(scope="module")
def storm() -> Storm:
    return Storm()
