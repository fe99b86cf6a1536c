"""A sealed address opens for its own participation under one of our keys, and says nothing to anybody else."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from streams.adapters.seal import (
    KEY_BYTES,
    SEALED_BYTES,
    STAMP_BYTES,
    LostKey,
    Sealer,
    SealUnavailable,
    exposed,
    new_key,
)
from tests.samples import PROPERTY

KEY, FORMER, STRANGE = (bytes((number,)) * KEY_BYTES for number in (1, 2, 3))
SEALER = Sealer([KEY, FORMER])
SUBJECT = b"acme/m-1/p-77"
V4 = bytes((203, 0, 113, 9))
V6 = bytes.fromhex("20010db8000000000000000000000009")

addresses = st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16)
contexts = st.binary(max_size=300)
keys = st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES)


# -- what is sealed ----------------------------------------------------------------------------------------------


@PROPERTY
@given(addresses, contexts, st.lists(keys, min_size=1, max_size=4, unique=True))
def test_what_is_sealed_opens(address: bytes, context: bytes, ours: list[bytes]) -> None:
    sealed = Sealer(ours).seal(address, context)
    for order in (ours, ours[::-1]):
        assert Sealer(order).unseal(sealed, context) == address


@PROPERTY
@given(addresses, contexts)
def test_the_same_join_seals_to_the_same_bytes_on_every_worker(address: bytes, context: bytes) -> None:
    assert SEALER.seal(address, context) == Sealer([KEY]).seal(address, context)


def runs_of_8(sealed: bytes) -> set[bytes]:
    """Past the key's id. One run of unrelated bytes is another's once in 10^19 times."""
    return {sealed[at : at + 8] for at in range(4, len(sealed) - 7)}


@PROPERTY
@given(addresses, contexts, contexts)
def test_participations_have_nothing_in_common(address: bytes, one: bytes, other: bytes) -> None:
    assume(one != other)
    first, second = SEALER.seal(address, one), SEALER.seal(address, other)
    assert not runs_of_8(first) & runs_of_8(second)
    with pytest.raises(LostKey, match="for another participation"):
        SEALER.unseal(first, other)


@PROPERTY
@given(addresses, contexts)
def test_its_length_and_its_bytes_do_not_tell_the_address(address: bytes, context: bytes) -> None:
    sealed = SEALER.seal(address, context)
    assert len(sealed) == SEALED_BYTES == 37
    assert sealed[:4] == SEALER.seal(V4, b"")[:4], "only the key's id stands in clear"
    assert address not in sealed[4:]


@pytest.mark.parametrize("address", [b"", b"\0" * 3, b"\0" * 5, b"\0" * 15, b"\0" * 17, b"203.0.113.9"])
def test_only_packed_addresses_are_sealed(address: bytes) -> None:
    with pytest.raises(ValueError, match="4 or 16 bytes") as caught:
        SEALER.seal(address, SUBJECT)
    assert "203" not in str(caught.value)


FORMAT = [
    # Records outlive the worker that wrote them: these bytes must open for ever, or get a new format version.
    (V4, "e81c815ec6f2d68fbd5856849013f30c4466a81703a14bc7bf80423bcc0937143e20ee34fc"),
    (V6, "e81c815e9a87faddf68f4de25e0582de97bbed4deda1e1dacbffa2bb787134fd8bff4e93e3"),
]


@pytest.mark.parametrize(("address", "sealed"), FORMAT, ids=["IPv4", "IPv6"])
def test_the_stored_form_does_not_change(address: bytes, sealed: str) -> None:
    assert SEALER.seal(address, SUBJECT).hex() == sealed
    assert SEALER.unseal(bytes.fromhex(sealed), SUBJECT) == address


def test_the_stored_form_of_a_stamp_does_not_change() -> None:
    stamp = SEALER.stamp(b"what a record says")
    assert stamp.hex() == "e81c815eb543df0ec1e21b6acb589a822aaf0e0f"
    assert SEALER.is_stamp_of(b"what a record says", stamp)


def test_a_stamp_needs_the_key_and_not_its_id() -> None:
    said = b"what a record says"
    ours, theirs = SEALER.stamp(said), Sealer([STRANGE]).stamp(said)
    assert not SEALER.is_stamp_of(said, theirs)
    assert not SEALER.is_stamp_of(said, ours[:4] + theirs[4:])
    assert not SEALER.is_stamp_of(said, Sealer([FORMER]).stamp(said)[:4] + ours[4:])


@PROPERTY
@given(contexts, contexts, st.binary(max_size=40))
def test_a_stamp_is_of_the_same_words_alone(said: bytes, other: bytes, anything: bytes) -> None:
    stamp = SEALER.stamp(said)
    assert len(stamp) == STAMP_BYTES == 20
    assert SEALER.is_stamp_of(other, stamp) == (other == said)
    for wrong in (anything, stamp[:-1], stamp + b"\0", stamp[:4] + anything):
        assert not SEALER.is_stamp_of(said, wrong)


# -- what does not open ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", [V4, V6], ids=["IPv4", "IPv6"])
def test_no_flipped_bit_goes_unnoticed(address: bytes) -> None:
    sealed = SEALER.seal(address, SUBJECT)
    for bit in range(8 * len(sealed)):
        changed = bytearray(sealed)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(LostKey):
            SEALER.unseal(bytes(changed), SUBJECT)


def test_nothing_cut_or_lengthened_opens() -> None:
    sealed = SEALER.seal(V6, SUBJECT)
    for wrong in (*(sealed[:end] for end in range(len(sealed))), sealed[1:], sealed + b"\0"):
        with pytest.raises(LostKey, match="37 bytes"):
            SEALER.unseal(wrong, SUBJECT)


@PROPERTY
@given(st.binary(max_size=60), contexts)
def test_what_was_never_sealed_is_a_lost_key_and_no_other_error(anything: bytes, context: bytes) -> None:
    for bytes_ in (anything, SEALER.seal(V4, b"")[:4] + anything.ljust(33, b"\0")[:33]):
        with pytest.raises(LostKey):
            SEALER.unseal(bytes_, context)


def test_a_key_that_is_not_ours_is_named_and_the_address_is_not() -> None:
    sealed = Sealer([STRANGE]).seal(V4, SUBJECT)
    with pytest.raises(LostKey, match=f"the key {sealed[:4].hex()}") as caught:
        SEALER.unseal(sealed, SUBJECT)
    assert V4.hex() not in str(caught.value)


def test_another_key_under_our_keys_id_opens_nothing() -> None:
    disguised = SEALER.seal(V4, SUBJECT)[:4] + Sealer([STRANGE]).seal(V4, SUBJECT)[4:]
    with pytest.raises(LostKey, match="damaged"):
        SEALER.unseal(disguised, SUBJECT)


# -- rotation ----------------------------------------------------------------------------------------------------


def test_rotation_loses_nothing_at_any_step() -> None:
    steps = [[FORMER], [FORMER, KEY], [KEY, FORMER], [KEY]]
    for before, after in pairwise(steps[:-1]):  # the last one is for when the sessions have ended
        for sealing, opening in ((before, after), (after, before)):  # workers are restarted one after the other
            assert Sealer(opening).unseal(Sealer(sealing).seal(V4, SUBJECT), SUBJECT) == V4
            assert Sealer(opening).is_stamp_of(SUBJECT, Sealer(sealing).stamp(SUBJECT))
    with pytest.raises(LostKey, match="not among ours"):
        Sealer(steps[-1]).unseal(Sealer(steps[0]).seal(V4, SUBJECT), SUBJECT)
    assert not Sealer(steps[-1]).is_stamp_of(SUBJECT, Sealer(steps[0]).stamp(SUBJECT))


def test_a_new_first_key_at_once_would_lose_addresses_until_all_workers_have_it() -> None:
    with pytest.raises(LostKey):
        Sealer([FORMER]).unseal(Sealer([KEY, FORMER]).seal(V4, SUBJECT), SUBJECT)


@pytest.mark.parametrize(
    "wrong", [[], [b""], [KEY[:-1]], [KEY + b"\0"], [KEY[:32]], [KEY, FORMER[:-1]], [KEY, KEY], [KEY, FORMER, KEY]]
)
def test_a_sealer_has_whole_keys_each_once(wrong: list[bytes]) -> None:
    with pytest.raises(ValueError, match="sealing key"):
        Sealer(wrong)


def test_a_sealer_shows_no_key() -> None:
    assert repr(SEALER) == f"Sealer({SEALER.seal(V4, b'')[:4].hex()}, {Sealer([FORMER]).seal(V4, b'')[:4].hex()})"


# -- key files ---------------------------------------------------------------------------------------------------


def test_keys_are_read_in_order(tmp_path: Path) -> None:
    files = [tmp_path / "new.json", tmp_path / "old.json"]
    kids = [new_key(file) for file in files]
    both, old = Sealer.read(files), Sealer.read(files[1:])
    assert repr(both) == f"Sealer({', '.join(kids)})"
    assert both.unseal(old.seal(V4, SUBJECT), SUBJECT) == V4
    assert both.seal(V4, SUBJECT)[:4].hex() == kids[0]
    with pytest.raises(LostKey):
        old.unseal(both.seal(V4, SUBJECT), SUBJECT)


def changed(**members: Any) -> Callable[[Path], None]:
    def spoil(file: Path) -> None:
        jwk = json.loads(file.read_text()) | members
        file.write_text(json.dumps({name: value for name, value in jwk.items() if value is not ...}))

    return spoil


def folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file, 0o600)


def other_letter(file: Path) -> None:
    jwk = json.loads(file.read_text())
    changed(k=("B" if jwk["k"][0] == "A" else "A") + jwk["k"][1:])(file)


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (Path.unlink, "cannot be read: No such file or directory"),
    "a folder": (folder, "cannot be read: Is a directory"),
    "a pipe": (pipe, "is not a regular file"),
    "empty": (lambda file: file.write_text(""), "is empty"),
    "blank": (lambda file: file.write_text(" \n"), "is no sealing key"),
    "cut": (lambda file: file.write_bytes(file.read_bytes()[:-20]), "is no sealing key"),
    "padded beyond reason": (lambda file: file.write_text(" " * 5000 + file.read_text()), "is no sealing key"),
    "not UTF-8": (lambda file: file.write_bytes(b"\xff" * 64), "is no sealing key"),
    "raw bytes": (lambda file: file.write_bytes(KEY), "is no sealing key"),
    "an array": (lambda file: file.write_text("[]"), "is no sealing key"),
    "another kind of key": (changed(kty="OKP"), "is no sealing key"),
    "no key": (changed(k=...), "is no sealing key"),
    "a number for a key": (changed(k=1), "is no sealing key"),
    "a short key": (changed(k="A" * 43), "is no sealing key"),
    "a long key": (changed(k="A" * 87), "is no sealing key"),
    "other base64": (changed(k="+" * 86), "is no sealing key"),
    "no kid": (changed(kid=...), "is damaged"),
    "another's kid": (changed(kid="00000000"), "is damaged"),
    "one letter changed": (other_letter, "is damaged"),
    "for the group to read": (lambda file: file.chmod(0o640), "is open to other users (mode 0640)"),
    "for all to read": (lambda file: file.chmod(0o604), "is open to other users (mode 0604)"),
    "for the group to write": (lambda file: file.chmod(0o620), "is open to other users (mode 0620)"),
}


@pytest.mark.parametrize(("spoil", "says"), WRONG.values(), ids=WRONG.keys())
def test_a_bad_key_file_is_one_line_that_names_it_and_shows_nothing(
    spoil: Callable[[Path], object], says: str, tmp_path: Path
) -> None:
    file, good = tmp_path / "seal.json", tmp_path / "good.json"
    new_key(good)
    new_key(file)
    secret = json.loads(file.read_text())["k"]
    spoil(file)
    with pytest.raises(SealUnavailable) as caught:
        Sealer.read([good, file])
    message = str(caught.value)
    assert message.startswith(f"{file} {says}")
    assert "\n" not in message
    assert not any(secret[at : at + 8] in message for at in range(len(secret) - 8))


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_we_may_not_read(tmp_path: Path) -> None:
    new_key(tmp_path / "seal.json")
    (tmp_path / "seal.json").chmod(0)
    with pytest.raises(SealUnavailable, match="cannot be read: Permission denied"):
        Sealer.read([tmp_path / "seal.json"])


def test_the_same_key_in_two_files(tmp_path: Path) -> None:
    one, other = tmp_path / "one.json", tmp_path / "other.json"
    new_key(one)
    other.touch(0o600)
    other.write_bytes(one.read_bytes())
    with pytest.raises(SealUnavailable) as caught:
        Sealer.read([one, other])
    assert str(caught.value) == f"{other} holds the same sealing key as {one}"
    with pytest.raises(SealUnavailable, match="no file"):
        Sealer.read([])


US, ROOT, SOMEBODY = 10001, 0, 1000


@pytest.mark.parametrize(
    ("mode", "owner", "reader", "wanted"),
    [
        (0o600, US, US, False),
        (0o400, US, US, False),
        (0o640, US, US, True),
        (0o610, US, US, True),
        (0o601, US, US, True),
        (0o440, ROOT, US, False),  # a secret handed to a container: root's, readable by our group
        (0o640, ROOT, US, False),
        (0o660, ROOT, US, True),
        (0o444, ROOT, US, True),
        (0o440, ROOT, ROOT, True),
        (0o640, SOMEBODY, US, True),
        (0o600, SOMEBODY, ROOT, False),
    ],
)
def test_whom_a_key_file_may_let_in(mode: int, owner: int, reader: int, wanted: bool) -> None:
    assert exposed(0o100000 | mode, owner, reader) is wanted


def test_a_link_to_a_key_file_is_followed(tmp_path: Path) -> None:
    """As secrets are mounted into containers."""
    new_key(tmp_path / "real.json")
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    assert repr(Sealer.read([tmp_path / "link.json"])) == repr(Sealer.read([tmp_path / "real.json"]))


def test_a_new_key_is_its_owners_alone_and_never_overwrites(tmp_path: Path) -> None:
    mask = os.umask(0)
    try:
        new_key(tmp_path / "seal.json")
    finally:
        os.umask(mask)
    made = (tmp_path / "seal.json").read_bytes()
    assert (tmp_path / "seal.json").stat().st_mode & 0o7777 == 0o600
    with pytest.raises(SealUnavailable, match="never overwritten"):
        new_key(tmp_path / "seal.json")
    assert (tmp_path / "seal.json").read_bytes() == made


def test_a_disk_that_is_full_leaves_no_half_key(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        with pytest.raises(SealUnavailable, match="cannot be written: File too large"):
            new_key(tmp_path / "seal.json")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []
