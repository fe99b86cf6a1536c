"""IP addresses as a backend's edge wrote them, to the packed form that facts and networks are compared in.

Strict on purpose: two parsers that disagree about ``010.8.8.8`` are a way around a rule. Textual forms are those of
RFC 4291 §2.2 and dotted decimal without leading zeros; everything else is refused. IPv4 addresses that travel inside
IPv6 are unwrapped, once, so that no lookup depends on how the edge happened to see the client.
"""

from socket import AF_INET, AF_INET6, inet_ntop, inet_pton  # pure functions; nothing here opens a socket

_MAPPED = bytes(10) + b"\xff\xff"  # ::ffff:0:0/96, RFC 4291 §2.5.5.2
_NAT64 = b"\x00\x64\xff\x9b" + bytes(8)  # 64:ff9b::/96, RFC 6052 §2.1
_SIX_TO_FOUR = b"\x20\x02"  # 2002::/16, RFC 3056 §2
_LENGTHS = {str(length): length for length in range(129)}  # every prefix length as it has to be written


class BadAddress(ValueError):
    """The text is not an IP address in a form we accept. Its message never repeats the text (charter C7)."""


def parse(text: str) -> bytes:
    """Parse and unwrap one address.

    Returns:
        4 bytes for IPv4 (also for IPv4 inside mapped, NAT64 and 6to4 addresses), else 16 bytes; network order.

    Raises:
        BadAddress: zone id, space, leading zero, hexadecimal or short IPv4 form, or no address at all.
    """
    return unwrap(parse_literal(text))


def parse_literal(text: str) -> bytes:
    """Parse one address as written, without unwrapping. Raises BadAddress."""
    if ":" not in text:
        try:
            return inet_pton(AF_INET, text)
        except (OSError, ValueError):
            raise BadAddress("not an IPv4 address") from None
    if "%" in text:  # some systems' inet_pton takes a zone id
        raise BadAddress("an IPv6 address with a zone id")
    try:
        return inet_pton(AF_INET6, text)
    except (OSError, ValueError):
        raise BadAddress("not an IPv6 address") from None


def unwrap(packed: bytes) -> bytes:
    """Take the IPv4 address out of a mapped, NAT64 or 6to4 address; once, in this order; others stay."""
    if len(packed) == 16:
        if packed.startswith((_MAPPED, _NAT64)):
            return packed[12:]
        if packed.startswith(_SIX_TO_FOUR):
            return packed[2:6]
    return packed


def text(packed: bytes) -> str:
    """The canonical text of a packed address (RFC 5952 for IPv6)."""
    return inet_ntop(AF_INET if len(packed) == 4 else AF_INET6, packed)


def parse_network(cidr: str) -> tuple[bytes, bytes]:
    """The first and last address of a CIDR block such as ``192.0.2.0/24``.

    IPv4-mapped blocks (``::ffff:192.0.2.0/120``) are unwrapped; no other form is.

    Raises:
        BadAddress: no prefix length, a prefix length out of range, or host bits set.
    """
    base, slash, digits = cidr.partition("/")
    first = parse_literal(base)
    width = len(first) * 8
    length = _LENGTHS.get(digits, -1)
    if not 0 <= length <= width:
        raise BadAddress(_no_length(slash, digits, width))
    number, host_bits = int.from_bytes(first), (1 << (width - length)) - 1
    if number & host_bits:
        clean = text((number & ~host_bits).to_bytes(len(first)))
        raise BadAddress(f"host bits are set; the block is {clean}/{length}")
    last = (number | host_bits).to_bytes(len(first))
    if first.startswith(_MAPPED) and length >= 96:
        return first[12:], last[12:]
    return first, last


def _no_length(slash: str, digits: str, width: int) -> str:
    """What is wrong with a prefix length."""
    if not slash:
        return f"a bare address; a block needs a prefix length, such as /{width}"
    if not (digits.isascii() and digits.isdigit()) or (digits[0] == "0" and digits != "0"):
        return "the prefix length must be a decimal number"
    return f"the prefix length must be at most {width}"
