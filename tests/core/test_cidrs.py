"""Long lists of networks, against the same questions asked of every address of a small net."""

from __future__ import annotations

from ipaddress import ip_network

from hypothesis import given
from hypothesis import strategies as st

from streams.core import cidrs

# Blocks within 192.0.2.0/29 and 2001:db8::/125: eight addresses of each family.
blocks = st.builds(
    lambda base, length, at: str(ip_network(f"{base}{at}/{length}", strict=False)),
    st.just("192.0.2."),
    st.integers(29, 32),
    st.integers(0, 7),
) | st.builds(
    lambda length, at: str(ip_network(f"2001:db8::{at:x}/{length}", strict=False)),
    st.integers(125, 128),
    st.integers(0, 7),
)


@given(st.lists(blocks, max_size=8))
def test_repeated_blocks_lie_in_another_of_the_list(texts: list[str]) -> None:
    found = cidrs.repeated([cidrs.block_of(text) for text in texts])
    networks = [ip_network(text) for text in texts]

    def covers(outer: int, inner: int) -> bool:
        one, other = networks[outer], networks[inner]
        if one.version != other.version or not other.subnet_of(one):  # type: ignore[arg-type]  # same version
            return False
        return one != other or outer < inner

    for at in range(len(texts)):
        by = [other for other in range(len(texts)) if other != at and covers(other, at)]
        assert (at in found) == bool(by)
        if by:
            assert found[at] in by
            assert found[at] not in found, "the widest is named"


conditions = st.dictionaries(
    st.integers(0, 3), st.tuples(st.lists(blocks, min_size=1, max_size=4), st.booleans()), max_size=4
)


@given(conditions)
def test_a_line_knows_which_rules_hold_at_each_address(asked: dict[int, tuple[list[str], bool]]) -> None:
    line = cidrs.line({i: ([cidrs.block_of(t) for t in texts], negated) for i, (texts, negated) in asked.items()}, 15)
    for family, first in (("192.0.2.0/28", "192.0.2."), ("2001:db8::/124", "2001:db8::")):
        for number, address in enumerate(ip_network(family)):
            wanted = 15
            for rule, (texts, negated) in asked.items():
                networks = [ip_network(text) for text in texts]
                inside = any(address in network for network in networks if network.version == address.version)
                if inside == negated:
                    wanted &= ~(1 << rule)
            one = f"{address}/{32 if '.' in first else 128}"
            assert line.masks_in(cidrs.block_of(one)) == {wanted}, number
    for texts, _ in asked.values():
        for text in texts:
            singles = [f"{a}/{32 if '.' in text else 128}" for a in ip_network(text)]
            each = set[int]().union(*(line.masks_in(cidrs.block_of(single)) for single in singles))
            assert line.masks_in(cidrs.block_of(text)) == each


def test_no_join_comes_from_ipv6_that_carries_ipv4() -> None:
    line = cidrs.line({0: ([cidrs.block_of("::/0")], False)}, 1)
    for carried in ("64:ff9b::/96", "2002::/16", "2002:c000:201::/48"):
        assert line.masks_in(cidrs.block_of(carried)) == {0}
    assert line.masks_in(cidrs.block_of("2001:db8::/32")) == {1}
    assert line.masks_in(cidrs.block_of("2002::/15")) == {0, 1}
    assert line.masks_in(cidrs.block_of("0.0.0.0/0")) == {0}


def test_the_whole_line_may_be_named() -> None:
    line = cidrs.line({0: ([cidrs.block_of("0.0.0.0/0"), cidrs.block_of("::/0")], True)}, 1)
    assert set(line.masks) == {0}
