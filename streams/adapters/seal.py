"""Sealed addresses and stamped records: what workers with a common key keep from others in the sessions' changelog.

What may live here: sealing and unsealing, stamping and telling, and the files that hold the keys. What is done with a
session whose address does not open, or with a record that bears no stamp of ours, is for those who ask.

Sealed addresses are what a live session keeps of an address, so that a sweep can look at it again (charter C7).

How it works. AES-SIV (RFC 5297) under a 512-bit key, with the participation's subject as associated data. A sealed
address is ``key id (4) | SIV (16) | ciphertext (17)``, always 37 bytes: the plaintext is the address's length and the
address filled up to 16, so that not even its family shows. The key id, a hash of the key, says which key sealed. SIV
has no nonce, so none can be repeated by accident, and a join that is delivered again seals to the same bytes.

What it protects against. Who reads changelogs, RocksDB files, broker disks or copies of them, but not the keys, learns
no address and cannot try all of IPv4 either. The same address seals to unrelated bytes in every participation, so
nothing links a person across meetings (C9). A sealed address that was changed, or copied onto another participation,
does not open.

What it does not protect against. Who has a key and the records has the addresses. Within one participation equal
addresses seal to equal bytes, so a change and a change back can be seen, and an earlier one put back opens. The facts
beside it in the record (country, network operator) are not sealed, and the ``joins`` topic holds every address in
clear for its short retention. Dropping a key makes what it sealed unreadable, but for whoever kept a copy.

Stamps are how workers know each other's records from forged ones. A stamp is ``key id (4) | BLAKE2b (16)``: RFC 7693's
keyed mode, under a key of its own that is BLAKE2b of the sealing key. What it is over, what it proves and what it
doesn't is told in ``streams.runtime.frames``. A forger without a key has to guess 128 bits for each record.

Keys are shared: sessions move between workers, so a worker must open what any other seals, and know its stamps. To
change the key without losing a session, take three steps, each on all workers before the next: put the new key second,
so that all can open it; put it first, so that all seal and stamp with it; when the sessions of the old one have ended,
drop the old one. What only a dropped key stamped is taken for forged. Where a key has leaked, don't wait for sessions
to end, and remove the workers' local files as well: rows there were looked at when they came, and are not again.
"""

import base64
import hashlib
import hmac
import json
import os
import re
import secrets
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from streams.wire.documents import NotJson, strict_json

KEY_BYTES: Final = 64
"""AES-SIV takes two AES-256 keys in one (RFC 5297 §2.2)."""

_ID_BYTES: Final = 4
_SIV_BYTES: Final = 16
_WIDEST: Final = 16  # an IPv6 address
_PADDING: Final = bytes(_WIDEST - 4)
SEALED_BYTES: Final = _ID_BYTES + _SIV_BYTES + 1 + _WIDEST
"""The length of every sealed address."""

# Purposes, so that none of these equals another hash that anybody takes of the key.
_ID_PURPOSE: Final = b"doorward-seal-id"
_STAMPING_KEY_PURPOSE: Final = b"doorward-stamps"
_STAMP_PURPOSE: Final = b"doorward-session"
_DIGEST_BYTES: Final = 16
STAMP_BYTES: Final = _ID_BYTES + _DIGEST_BYTES
"""The length of every stamp."""
_MAX_FILE: Final = 4096
_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]{86}")  # 64 bytes, RFC 7515 §2: without padding


class LostKey(Exception):
    """A sealed address does not open: its key is not (any longer) among ours, or these bytes were not sealed here."""


class SealUnavailable(Exception):
    """No sealing key can be had from a file, or written to it. The message is one line that names the file."""


class Sealer:
    """Seals addresses and stamps records with the first of its keys, and opens and knows what any of them did.

    Its repr shows no key.

    Args:
        keys: 64 bytes each; any number of former keys may follow the one that seals.

    Raises:
        ValueError: no key, one of another length, or the same one twice.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys or any(len(key) != KEY_BYTES for key in keys):
            raise ValueError(f"one sealing key or more is needed, of {KEY_BYTES} bytes each")
        self._by_id = {_key_id(key): AESSIV(key) for key in keys}
        if len(self._by_id) < len(keys):
            raise ValueError("the same sealing key twice")
        self._id = _key_id(keys[0])
        self._first = self._by_id[self._id]
        self._stampers = {_key_id(key): _stamper(key) for key in keys}
        self._stamper = self._stampers[self._id]

    @classmethod
    def read(cls, paths: Sequence[Path]) -> "Sealer":
        """The sealer of some key files, in their order.

        Raises:
            SealUnavailable: a file is missing, unreadable, open to other users, or holds no sealing key; two hold the
                same; or there is no file.
        """
        if not paths:
            raise SealUnavailable("no file of a sealing key is named")
        found: dict[bytes, Path] = {}
        for path in paths:
            key = _read_key(path)
            if key in found:
                raise SealUnavailable(f"{path} holds the same sealing key as {found[key]}")
            found[key] = path
        return cls(list(found))

    def seal(self, address: bytes, context: bytes) -> bytes:
        """Seal an address for one participation.

        Args:
            address: packed, 4 or 16 bytes.
            context: the participation's subject, without which it will not open.

        Returns:
            ``SEALED_BYTES`` bytes; the same for the same arguments.

        Raises:
            ValueError: the address has another length.
        """
        if len(address) == 4:
            plain = b"\4" + address + _PADDING
        elif len(address) == _WIDEST:
            plain = b"\x10" + address
        else:
            raise ValueError(f"a packed address has 4 or 16 bytes, not {len(address)}")
        return self._id + self._first.encrypt(plain, [context])

    def unseal(self, sealed: bytes, context: bytes) -> bytes:
        """Open a sealed address.

        Args:
            sealed: what ``seal`` returned.
            context: the same that it was sealed with.

        Returns:
            The packed address, 4 or 16 bytes.

        Raises:
            LostKey: none of our keys sealed it, it was sealed for another participation, or it is damaged.
        """
        if len(sealed) != SEALED_BYTES:
            raise LostKey(f"a sealed address has {SEALED_BYTES} bytes, not {len(sealed)}")
        key = self._by_id.get(sealed[:_ID_BYTES])
        if key is None:
            raise LostKey(f"sealed with the key {sealed[:_ID_BYTES].hex()}, which is not among ours")
        try:
            plain = key.decrypt(sealed[_ID_BYTES:], [context])
        except InvalidTag:
            raise LostKey("damaged, or sealed for another participation") from None
        return plain[1 : 1 + plain[0]]

    def stamp(self, said: bytes) -> bytes:
        """The stamp of what a record says: ``STAMP_BYTES`` bytes; the same for the same."""
        digest = self._stamper.copy()  # the key is in it already
        digest.update(said)
        return self._id + digest.digest()

    def is_stamp_of(self, said: bytes, stamp: bytes) -> bool:
        """Whether one of our keys made a stamp, and of just this. Any bytes may be asked about."""
        stamper = self._stampers.get(stamp[:_ID_BYTES])
        if stamper is None:
            return False
        digest = stamper.copy()
        digest.update(said)
        return hmac.compare_digest(digest.digest(), stamp[_ID_BYTES:])

    def __repr__(self) -> str:
        return f"Sealer({', '.join(key_id.hex() for key_id in self._by_id)})"


def _key_id(key: bytes) -> bytes:
    return hashlib.blake2b(key, digest_size=_ID_BYTES, person=_ID_PURPOSE).digest()


def _stamper(key: bytes) -> "hashlib.blake2b":
    """A hash that a record's words are to be added to."""
    own = hashlib.blake2b(key, person=_STAMPING_KEY_PURPOSE).digest()
    return hashlib.blake2b(key=own, digest_size=_DIGEST_BYTES, person=_STAMP_PURPOSE)


# -- key files ---------------------------------------------------------------------------------------------------


def new_key(path: Path) -> str:
    """Make a sealing key where no file is yet: a JWK (RFC 7517, kty oct) whose ``kid`` is the key's id in hex.

    It is its owner's alone from the first instant, whatever the umask.

    Returns:
        The ``kid``.

    Raises:
        SealUnavailable: there is a file, or none can be made.
    """
    key = secrets.token_bytes(KEY_BYTES)
    encoded = base64.urlsafe_b64encode(key).rstrip(b"=").decode()
    jwk = {"kty": "oct", "use": "enc", "k": encoded, "kid": _key_id(key).hex()}
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise SealUnavailable(f"{path} exists; a key is never overwritten") from None
    except OSError as exc:
        raise SealUnavailable(f"{path} cannot be written: {exc.strerror}") from None
    try:
        with open(descriptor, "w", encoding="ascii") as stream:
            stream.write(json.dumps(jwk) + "\n")
    except OSError as exc:  # a full disk; half a key is none
        path.unlink(missing_ok=True)
        raise SealUnavailable(f"{path} cannot be written: {exc.strerror}") from None
    return jwk["kid"]


def _read_key(path: Path) -> bytes:
    """The key in a file. Raises SealUnavailable."""
    try:
        with open(path, "rb", opener=_at_once) as stream:
            status = os.fstat(stream.fileno())  # of what is read; by name it could be another file by now
            if not stat.S_ISREG(status.st_mode):
                raise SealUnavailable(f"{path} is not a regular file")
            if exposed(status.st_mode, status.st_uid, os.geteuid()):
                mode = stat.S_IMODE(status.st_mode)
                raise SealUnavailable(f"{path} is open to other users (mode {mode:04o}); it should be 0600")
            data = stream.read(_MAX_FILE)
    except OSError as exc:
        raise SealUnavailable(f"{path} cannot be read: {exc.strerror}") from None
    return _key_of(data, path)


def _at_once(name: str, flags: int) -> int:
    """Open a file, and a pipe without waiting for its writer."""
    return os.open(name, flags | os.O_NONBLOCK)


def exposed(mode: int, owner: int, reader: int) -> bool:
    """Whether a key file lets in others than its owner and the process that reads it.

    A file of root's may be readable by its group: so a container without privileges is handed its secrets.

    Args:
        mode: as stat gives it.
        owner: the file's user id.
        reader: the process's user id.
    """
    allowed = stat.S_IRGRP if owner == 0 and reader != 0 else 0
    return bool(mode & (stat.S_IRWXG | stat.S_IRWXO) & ~allowed)


def _key_of(data: bytes, path: Path) -> bytes:
    """The key in a file's bytes. Raises SealUnavailable, and never repeats what the file holds."""
    if not data:
        raise SealUnavailable(f"{path} is empty")
    try:
        value: Any = strict_json(data)
    except NotJson:
        value = None
    encoded = value.get("k") if isinstance(value, dict) and value.get("kty") == "oct" else None
    if not isinstance(encoded, str) or not _BASE64URL.fullmatch(encoded):
        raise SealUnavailable(
            f"{path} is no sealing key (a JWK with kty oct, k of {KEY_BYTES} bytes and kid): see `doorward keys seal`"
        )
    key = base64.urlsafe_b64decode(encoded + "==")
    if value.get("kid") != _key_id(key).hex():
        raise SealUnavailable(f"{path} is damaged: its k and kid are not of one key")
    return key
