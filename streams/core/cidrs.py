"""Long lists of networks, for lint: which blocks of a list others cover, and which rules hold where.

Both questions are answered by sorting and one sweep, n log n for n blocks, so that a hundred thousand of them are no
trouble. CIDR blocks only ever nest or lie apart, which is what makes one sweep enough. Which rules hold is a mask, bit
*i* for rule *i*: between two neighbouring edges of blocks it is the same for every address, and the distinct masks are
few even where the edges are many.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from streams.core import address

Block = tuple[int, int]
"""First and last address, as places on one line: IPv4 first, then IPv6."""

_IPV6: Final = 1 << 32
"""Where IPv6 begins on the line."""
_END: Final = _IPV6 + (1 << 128)
UNWRAPPED: Final[tuple[Block, ...]] = tuple(
    (_IPV6 + (prefix << 128 - length), _IPV6 + (prefix + 1 << 128 - length) - 1)
    for prefix, length in ((0xFFFF, 96), (0x64FF9B << 64, 96), (0x2002, 16))
)
"""IPv6 that no join comes from: the IPv4 address inside is taken out before any rule sees it (ruling 11)."""


def block_of(cidr: str) -> Block:
    """A block's place on the line. Raises ``streams.core.address.BadAddress``."""
    first, last = address.parse_network(cidr)
    base = 0 if len(first) == 4 else _IPV6
    return base + int.from_bytes(first), base + int.from_bytes(last)


def repeated(blocks: Sequence[Block]) -> dict[int, int]:
    """Of one list, the blocks that another one covers: index to the index of the widest that covers it.

    Of equal blocks the first stays.
    """
    found: dict[int, int] = {}
    widest = -1
    for at in sorted(range(len(blocks)), key=lambda i: (blocks[i][0], -blocks[i][1], i)):
        if widest >= 0 and blocks[at][1] <= blocks[widest][1]:
            found[at] = widest
        else:
            widest = at
    return found


class Line(NamedTuple):
    """The line of all addresses, cut where what holds may change.

    Attributes:
        edges: where each piece begins, rising; the first is 0.
        masks: the rules whose network conditions hold on it, one mask a piece; 0 where no join comes from.
    """

    edges: list[int]
    masks: list[int]

    def masks_in(self, block: Block) -> set[int]:
        """What holds somewhere in a block; takes time for each of its pieces."""
        return set(self.masks[bisect_right(self.edges, block[0]) - 1 : bisect_left(self.edges, block[1] + 1)])


def line(conditions: Mapping[int, tuple[Iterable[Block], bool]], everyone: int) -> Line:
    """Cut the line.

    Args:
        conditions: by rule, the blocks of its network condition and whether it is negated.
        everyone: the mask of all rules; those without a condition hold everywhere.
    """
    nobody = everyone + 1  # one bit more: no join comes from here
    mask, changes = everyone, {0: 0}
    _toggle(changes, UNWRAPPED, nobody)
    for rule, (blocks, negated) in conditions.items():
        if not negated:
            mask &= ~(1 << rule)
        _toggle(changes, blocks, 1 << rule)
    edges, masks = sorted(edge for edge in changes if edge < _END), list[int]()
    for edge in edges:
        mask ^= changes[edge]
        masks.append(0 if mask & nobody else mask)
    return Line(edges, masks)


def _toggle(changes: dict[int, int], blocks: Iterable[Block], bit: int) -> None:
    """Note where a bit flips: at both ends of each block that no other one covers."""
    reach = -1
    for first, last in sorted(blocks, key=lambda block: (block[0], -block[1])):
        if last > reach:
            reach = last
            for edge in (first, last + 1):
                changes[edge] = changes.get(edge, 0) ^ bit
