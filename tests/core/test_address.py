"""Addresses: the standard library's parser is the oracle, for valid text and for text gone slightly wrong."""

from __future__ import annotations

import ipaddress
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streams.core import address
from streams.core.address import BadAddress
from tests.samples import PROPERTY

texts = st.ip_addresses().map(str) | st.ip_addresses(v=6).map(lambda a: a.exploded)
MARKS = "0123456789abcdefABCDEFx:./% \t\n\x00-+gٱ٣"


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """The text of an address after up to three characters were put in, taken out or replaced."""
    text = draw(texts)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.sampled_from(["", *MARKS])) + text[at + draw(st.integers(0, 1)) :]
    return text


def oracle(text: str) -> bytes | None:
    if "%" in text:  # the standard library takes zone ids
        return None
    try:
        return ipaddress.ip_address(text).packed
    except ValueError:
        return None


def literal(text: str) -> bytes | None:
    try:
        return address.parse_literal(text)
    except BadAddress:
        return None


@PROPERTY
@given(mutated() | st.text(MARKS, max_size=45))
@example("::ffff:8.8.8.8")
@example("1:2:3:4:5:6:7::")
@example("::1.2.3.04")
@example("1.2.3.4\x00")
def test_a_literal_is_what_the_standard_library_says(text: str) -> None:
    assert literal(text) == oracle(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "010.8.8.8",
        "8.8.8",
        "8.8",
        "0x8.8.8.8",
        "134744072",
        " 8.8.8.8",
        "8.8.8.8 ",
        "8.8.8.8\n",
        "8.8.8.256",
        "fe80::1%eth0",
        "fe80::1%",
        "::%1",
        "1::2::3",
        ":::",
        "12345::",
        "[::1]",
        "8.8.8.8:443",
        "::ffff:08.8.8.8",
        "\ud800",
        "8.8.8.8\x00",
        "٨.8.8.8",
        "::1/128",
        "localhost",
    ],
)
def test_other_forms_are_refused_without_repeating_them(text: str) -> None:
    with pytest.raises(BadAddress) as caught:
        address.parse(text)
    assert caught.value.__cause__ is None
    assert len(text.strip()) < 3 or text not in str(caught.value)


def test_a_zone_id_is_named_as_the_trouble() -> None:
    with pytest.raises(BadAddress, match="zone id"):
        address.parse("fe80::1%eth0")


@pytest.mark.parametrize(
    ("text", "unwrapped"),
    [
        ("8.8.8.8", "8.8.8.8"),
        ("::ffff:8.8.8.8", "8.8.8.8"),
        ("::FFFF:808:808", "8.8.8.8"),
        ("64:ff9b::808:808", "8.8.8.8"),
        ("2002:808:808::1", "8.8.8.8"),
        # Other forms stay as they are: compatible, translated, Teredo, local NAT64.
        ("::8.8.8.8", "::8.8.8.8"),
        ("::ffff:0:8.8.8.8", "::ffff:0:808:808"),
        ("2001:0:808:808::1", "2001:0:808:808::1"),
        ("64:ff9b:1::808:808", "64:ff9b:1::808:808"),
        ("64:ff9b::1:808:808", "64:ff9b::1:808:808"),
        ("2001:db8::1", "2001:db8::1"),
    ],
)
def test_ipv4_inside_ipv6_is_unwrapped(text: str, unwrapped: str) -> None:
    assert address.text(address.parse(text)) == unwrapped


def test_unwrapping_happens_once() -> None:
    # 6to4 of an address that NAT64 could not make any more: what comes out is IPv4 and stays.
    assert address.parse("2002:0064:ff9b::") == bytes([0, 0x64, 0xFF, 0x9B])


@PROPERTY
@given(st.ip_addresses(v=4))
def test_every_wrapping_of_an_ipv4_address_is_that_address(inner: ipaddress.IPv4Address) -> None:
    number = int(inner)
    for outer in ((0xFFFF << 32) | number, (0x64FF9B << 96) | number, (0x2002 << 112) | (number << 80) | 7):
        assert address.parse(str(ipaddress.IPv6Address(outer))) == inner.packed


@PROPERTY
@given(st.ip_addresses())
def test_text_is_canonical_and_parses_back(given_: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    packed = given_.packed
    assert address.parse_literal(address.text(packed)) == packed
    if given_.version == 4 or given_.ipv4_mapped is None:
        assert ipaddress.ip_address(address.text(packed)) == given_


def block(cidr: str) -> tuple[bytes, bytes] | None:
    try:
        return address.parse_network(cidr)
    except BadAddress:
        return None


@PROPERTY
@given(
    st.ip_addresses(),
    st.integers(0, 129) | st.sampled_from(["", "08", "+8", "-1", " 8", "8 ", "٣", "255.0.0.0"]),
    st.booleans(),
)
def test_a_block_is_what_the_standard_library_says(base: object, length: object, clean: bool) -> None:
    text = f"{base}/{length}"
    if clean and isinstance(length, int):
        with suppress(ValueError):
            text = str(ipaddress.ip_network(text, strict=False))
    try:
        wanted = ipaddress.ip_network(text) if isinstance(length, int) else None  # masks and signs are not ours
    except ValueError:
        wanted = None
    got = block(text)
    if wanted is None:
        assert got is None
    elif wanted.version == 6 and wanted.prefixlen >= 96 and wanted.network_address.ipv4_mapped is not None:
        assert got == (wanted[0].packed[12:], wanted[-1].packed[12:])
    else:
        assert got == (wanted[0].packed, wanted[-1].packed)


@pytest.mark.parametrize(
    ("cidr", "first", "last"),
    [
        ("192.0.2.0/24", "192.0.2.0", "192.0.2.255"),
        ("0.0.0.0/0", "0.0.0.0", "255.255.255.255"),
        ("192.0.2.1/32", "192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.0/120", "192.0.2.0", "192.0.2.255"),
        ("::ffff:0:0/96", "0.0.0.0", "255.255.255.255"),
        # Wider than the mapped range, and forms that only addresses are unwrapped from: left as they are.
        ("::/80", "::", "::ffff:ffff:ffff"),
        ("64:ff9b::/96", "64:ff9b::", "64:ff9b::ffff:ffff"),
        ("2002:808:808::/48", "2002:808:808::", "2002:808:808:ffff:ffff:ffff:ffff:ffff"),
        ("::/0", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ],
)
def test_a_block_is_its_first_and_last_address(cidr: str, first: str, last: str) -> None:
    assert tuple(ipaddress.ip_address(packed) for packed in address.parse_network(cidr)) == (
        ipaddress.ip_address(first),
        ipaddress.ip_address(last),
    )


@pytest.mark.parametrize(
    ("cidr", "says"),
    [
        ("192.0.2.9", "/32"),
        ("2001:db8::9", "/128"),
        ("192.0.2.9/24", "192.0.2.0/24"),
        ("2001:db8::9/64", "2001:db8::/64"),
        ("::ffff:0:0/95", "::fffe:0:0/95"),
        ("192.0.2.0/33", "at most 32"),
        ("2001:db8::/129", "at most 128"),
        ("192.0.2.0/024", "decimal"),
        ("192.0.2.0/", "decimal"),
        ("192.0.2.0/24/24", "decimal"),
        ("192.0.2/24", "IPv4"),
    ],
)
def test_a_refused_block_says_what_would_be_right(cidr: str, says: str) -> None:
    with pytest.raises(BadAddress, match=says):
        address.parse_network(cidr)


def test_a_prefix_length_of_thousands_of_digits_is_refused_like_any_other() -> None:
    with pytest.raises(BadAddress):
        address.parse_network("192.0.2.0/" + "9" * 5000)
