"""Geo files at hand, put together to the builds that recorded decisions name.

A build's name says which files it was made of, by name, build date and digest, in order (``streams.adapters.geo``). So
any build of the files at hand can be made again, also one of last month beside today's.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from streams.adapters.anonymity import ANY_FILE
from streams.adapters.geo import Geo, open_file
from streams.core.facts import UNVOUCHED, Facts, Vocabulary

NONE: Final = "none"
MOST: Final = 8
"""Builds kept open at once."""


class Built:
    """A build, as far as looking addresses up goes.

    Attributes:
        time: the newest build epoch among its files, Unix seconds.
        facts: of an address; raises BadAddress.
    """

    def __init__(self, geography: Geo, *, is_doubted: bool) -> None:
        self.time = geography.time
        self._facts = geography.facts
        self.facts: Callable[[str], Facts] = self._doubted if is_doubted else geography.facts

    def _doubted(self, text: str) -> Facts:
        facts = self._facts(text)
        return msgspec.structs.replace(facts, doubts=facts.doubts | UNVOUCHED)


class Shelf:
    """The files.

    Args:
        files: any number, in any order. Blocks: each is checked whole.
        vocabulary: the codes that count.

    Raises:
        GeoUnavailable: a file is unreadable, not an MMDB file, or damaged.
    """

    def __init__(self, files: Sequence[Path], vocabulary: Vocabulary) -> None:
        databases = [open_file(path) for path in files]
        self._files = {f"{d.name}-{d.built:%Y-%m-%d}-{d.sha256[:8]}": d for d in databases}
        self._vocabulary = vocabulary
        self._builds: dict[str, Built] = {}

    def __call__(self, build: str) -> Built | None:
        """A build by its name, as a worker would use it; None where a file of it is not at hand."""
        found = self._builds.get(build)
        if found is None and (found := self._made(build)) is not None:
            if len(self._builds) >= MOST:
                self._builds.clear()  # each keeps the facts of addresses that were looked up
            self._builds[build] = found
        return found

    def _made(self, build: str) -> Built | None:
        # A worker writes "!" and why behind a file whose anonymity data did not count; the file is the same.
        names = [] if build == NONE else [part.partition("!")[0] for part in build.split("+")]
        if any(name not in self._files for name in names):
            return None
        geography = Geo([self._files[name] for name in names], self._vocabulary, ANY_FILE)
        geography.review(0)
        return Built(geography, is_doubted="!" in build)
