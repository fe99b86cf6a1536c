"""Entries sorted into piles by a key, on disk, so that each pile fits in memory when it is its turn.

``joins`` has addresses, which may lie nowhere else (charter C7). So what goes to disk is sealed (AES-256-GCM) with a
key that only this process's memory holds, in a file without a name: what a crash leaves nobody can read, nor find.

In memory are a block of each pile, not yet written, and where the others lie: some ``PILES`` times ``BLOCK`` bytes.
"""

import os
import tempfile
import zlib
from collections.abc import Iterator
from hashlib import blake2b
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

PILES: Final = 256
BLOCK: Final = 1 << 16
"""Bytes of a pile that are compressed, sealed and written together."""
SMALL: Final = 20_000
"""Entries for which one pile will do."""


class SpillUnavailable(Exception):
    """There is no room for it; the message is one line."""


class Spill:
    """Piles of entries.

    Args:
        entries: how many to expect; few need few piles.
    """

    def __init__(self, entries: int) -> None:
        self._piles = [bytearray() for _ in range(min(PILES, entries // SMALL + 1))]
        self._places: list[list[tuple[int, int]]] = [[] for _ in self._piles]
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # closed by `close`
        self._cipher = AESGCM(AESGCM.generate_key(256))
        self._blocks = 0

    def add(self, key: bytes, entry: bytes) -> None:
        """Put an entry onto its key's pile. Raises SpillUnavailable."""
        number = int.from_bytes(blake2b(key, digest_size=4).digest()) % len(self._piles)
        pile = self._piles[number]
        pile += len(entry).to_bytes(4) + entry
        if len(pile) >= BLOCK:
            self._write(number)

    def piles(self) -> Iterator[Iterator[bytes]]:
        """Each pile's entries, in the order they were added; all entries of a key are on one pile."""
        for number in range(len(self._piles)):
            yield self._entries(number)

    def close(self) -> None:
        """Give the disk back."""
        self._file.close()

    def _write(self, number: int) -> None:
        pile, self._piles[number] = self._piles[number], bytearray()
        sealed = self._cipher.encrypt(self._nonce(self._blocks), zlib.compress(pile, 1), None)
        self._places[number].append((self._file.seek(0, os.SEEK_END), self._blocks))
        try:
            self._file.write(len(sealed).to_bytes(4) + sealed)
            self._file.flush()
        except OSError as exc:
            raise SpillUnavailable(f"no room in {tempfile.gettempdir()} (TMPDIR): {exc.strerror}") from exc
        self._blocks += 1

    def _entries(self, number: int) -> Iterator[bytes]:
        for place, block in self._places[number]:
            self._file.seek(place)
            sealed = self._file.read(int.from_bytes(self._file.read(4)))
            yield from _split(zlib.decompress(self._cipher.decrypt(self._nonce(block), sealed, None)))
        yield from _split(bytes(self._piles[number]))

    @staticmethod
    def _nonce(block: int) -> bytes:
        """Never the same twice under a key: a key is for one spill."""
        return block.to_bytes(12)


def _split(pile: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(pile):
        end = at + 4 + int.from_bytes(pile[at : at + 4])
        yield pile[at + 4 : end]
        at = end
