"""The policy table: what this worker made of the policy log, in RocksDB, so that a warm start verifies nothing twice.

A row a record of the log, keyed by its offset: the verdict on it, and the document if it was accepted. Only the reader
of the log writes here; what a row says is derived, and a table that is lost or damaged is built again from the log.

So damage has to be noticed. rocksdict's ``items`` ends at a damaged block as if nothing came after it; and where
RocksDB's list of files has lost its end, rows in the middle are gone and those after them, from its journal, are not.
Therefore the end of the rows is looked at, and each row says which one it follows.
"""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
from rocksdict import Options, Rdict, WriteBatch

from streams import __version__
from streams.core.policy import LIMITS, Limits

FORMAT: Final = 3
"""Of a row. A table in another format is built again."""
_META: Final = b"meta"
_UNFINISHED: Final = b""
"""Instead of a meaning while the rows are judged anew: a start that finds it drops them."""
_DAMAGE: Final = ("Corruption", "Invalid argument", "NotFound")
"""How RocksDB's errors begin when files are damaged, not its own, or missing."""


class Row(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What became of one record of ``policies``.

    Attributes:
        offset: of the record.
        appended_at: the log's append time, ms.
        status: the status event said of it, as sent.
        document: the document as ``wire.stored`` writes it; None when the record was rejected or repeated another.
        content: see ``streams.core.index.Revision``.
        holder: who signed.
        on_behalf: signed on the owner's behalf.
        sha256: of the signed document.
        after: the offset of the record before it, -1 for none.
    """

    offset: int
    appended_at: int
    status: bytes
    document: bytes | None = None
    content: bytes = b""
    holder: str | None = None
    on_behalf: bool = False
    sha256: str | None = None
    after: int = -1


class Meaning(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What the rows were judged by. With any of it changed they mean nothing, and the log is read anew.

    Attributes:
        vocabulary: the edition documents were compiled against.
        audience: the deployment signatures were verified for.
        trust: the digest of the trust set: a key that was revoked, or an account's first own key, changes verdicts.
        contest: the deployment's own way to contest (ruling 39).
        limits: the greatest sizes of documents.
        key_age: whether keys had to be announced for a day (ruling 32); not in the sandbox.
        engine: the version that checked documents and wrote them down: another one may take other documents.
        format: of a row.
    """

    vocabulary: str
    audience: str
    trust: str
    contest: str | None
    limits: Limits = LIMITS
    key_age: bool = True
    engine: str = __version__
    format: int = FORMAT


class TableDamaged(Exception):
    """A row of the policy table is none, or cannot be read, or is missing; the table has to be built again."""


class TableUnavailable(Exception):
    """The folder cannot be written, or another process has the table open; one line that names it."""


_encode = msgspec.msgpack.Encoder().encode
_decode_row = msgspec.msgpack.Decoder(Row).decode
_decode_meaning = msgspec.msgpack.Decoder(Meaning).decode


class PolicyTable:
    """The table, open; one process at a time.

    Args:
        folder: its own folder, and nobody else's: it is removed when the rows mean nothing any more.
        meaning: what the rows are judged by.

    Attributes:
        is_outdated: whether it holds what another trust set made of the log. There are no ``rows`` then until all are
            judged anew, but ``status`` knows the answers of before, so that it can be told which have changed.

    Raises:
        TableUnavailable: see there. A table that RocksDB finds damaged is dropped instead: it is derived.
    """

    def __init__(self, folder: Path, meaning: Meaning) -> None:
        self._folder = folder
        self.is_outdated = False
        self._meaning = meaning
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise TableUnavailable(f"DOORWARD_DATA: cannot make {folder}: {exc.strerror}") from None
        self._db = self._open(meaning)

    def _open(self, meaning: Meaning) -> Any:
        db = None
        try:
            db = Rdict(str(self._folder), _options())
            found = db.get(_META)
            if found == _encode(meaning):
                return db
            if found and _is_by_other_keys(found, meaning):
                self.is_outdated = True
                return db
            if found is not None:
                db.close()
                db = self._anew()
        except Exception as exc:
            # rocksdict raises plain Exception for everything: only RocksDB's own words for damage may cost the table.
            if not any(word in str(exc) for word in _DAMAGE):
                raise TableUnavailable(f"DOORWARD_DATA: cannot open {self._folder}: {exc}") from None
            if db is not None:
                db.close()  # or its files stay locked
            db = self._anew()
        db.put(_META, _encode(meaning))
        return db

    def _anew(self) -> Any:
        shutil.rmtree(self._folder)
        return Rdict(str(self._folder), _options())

    def rows(self, start: int = 0) -> Iterator[Row]:
        """Rows from an offset on, in the log's order.

        Raises:
            msgspec.MsgspecError: a row is none.
            TableDamaged: at the end, where the rest cannot be read.
        """
        if not self.is_outdated:
            yield from self._rows(start)

    def _rows(self, start: int) -> Iterator[Row]:
        first = last = start.to_bytes(8)
        for key, value in self._db.items(from_key=first):
            if key != _META:
                yield _decode_row(value)
            last = key
        with _noticed():
            rest = self._db.iter()
            rest.seek(last + b"\0")
            rest.status()
            if rest.valid():
                raise TableDamaged("rows came to an end before the last one")

    def put(self, rows: Iterable[Row]) -> None:
        """Add rows, all or none. Raises TableDamaged."""
        batch = WriteBatch(raw_mode=True)
        for row in rows:
            batch.put(row.offset.to_bytes(8), _encode(row))
        with _noticed():
            self._db.write(batch)

    def status(self, offset: int) -> bytes | None:
        """What was said of a record; None where it is not known. Raises msgspec.MsgspecError, TableDamaged."""
        with _noticed():
            value = self._db.get(offset.to_bytes(8))
        return None if value is None else _decode_row(value).status

    def rejudge(self) -> None:
        """The rows are about to be written anew, one by one, by another meaning. Until ``judged_by`` they have none."""
        self._db.put(_META, _UNFINISHED)

    def judged_by(self, meaning: Meaning, last: int) -> None:
        """Every row up to an offset, -1 for none, has been written anew by this meaning. What is behind it goes."""
        for row in list(self._rows(last + 1)):
            del self._db[row.offset.to_bytes(8)]
        self._db.put(_META, _encode(meaning))
        self._meaning, self.is_outdated = meaning, False

    def clear(self) -> None:
        """Drop all rows: the log is not the one they were derived from."""
        self._db.close()
        self._db = self._anew()
        self._db.put(_META, _encode(self._meaning))
        self.is_outdated = False

    def close(self) -> None:
        """Close; the folder may be opened again."""
        self._db.close()


@contextmanager
def _noticed() -> Iterator[None]:
    """Tell damage apart from what else RocksDB says; it has one class of errors for everything."""
    try:
        yield
    except Exception as exc:
        if any(word in str(exc) for word in _DAMAGE):
            raise TableDamaged(str(exc)) from exc
        raise


def _is_by_other_keys(meta: bytes, meaning: Meaning) -> bool:
    """Whether a table's meaning differs in the trust set alone."""
    try:
        found = _decode_meaning(meta)
    except msgspec.MsgspecError:
        return False
    return msgspec.structs.replace(found, trust=meaning.trust) == meaning


def _options() -> Options:
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_write_buffer_size(8 << 20)
    return options
