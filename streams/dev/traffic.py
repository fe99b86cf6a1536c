"""Traffic as a conferencing backend might send it: seeded, so that the same seed gives the same records.

Meetings have Zipf sizes and belong to accounts; people join, some change address or role, most leave. One record in
a hundred is sent twice and one in a thousand is malformed, each in one of the ways the rulings name. Addresses lie in
networks that the shipped geo snapshot lists, IPv4 and IPv6.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from itertools import accumulate
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import maxminddb
import orjson

from streams.core.events import JOIN, LEAVE, UPDATE

Expect: TypeAlias = Literal["decision", "dead_letter", "both", "nothing"]
"""What a record gets: a decision, a dead letter, both (a join whose address is none), or nothing (a leave)."""

SOURCE: Final = "/edge/sandbox-1"
_ROLES: Final = ("host", "cohost", "participant", "guest")
_REGISTRIES: Final = (0x2400, 0x2600, 0x2800, 0x2A00, 0x2C00)
"""First 16 bits of the regional registries' /12 blocks (IANA), where allocated IPv6 networks lie."""


@dataclass(frozen=True, slots=True)
class Made:
    """One record to send.

    Attributes:
        key: the Kafka key.
        value: the Kafka value.
        kind: ``join``, ``update``, ``leave`` or ``malformed``.
        expect: what it must get.
    """

    key: bytes
    value: bytes
    kind: str
    expect: Expect


class Addresses:
    """Addresses drawn from the networks of an MMDB file.

    Args:
        file: the geo file.
        rng: seeded by the caller.
        networks: how many to draw from.
        share6: of them, IPv6.
    """

    def __init__(self, file: Path, rng: random.Random, networks: int = 4000, share6: float = 0.25) -> None:
        self._rng = rng
        self._networks: list[tuple[int, int, int]] = []  # first address, host bits, IP version
        reader = maxminddb.open_database(file)
        try:
            for i in range(networks):
                self._networks.append(self._network(reader, 6 if i < networks * share6 else 4))
        finally:
            reader.close()
        rng.shuffle(self._networks)

    def _network(self, reader: Any, version: int) -> tuple[int, int, int]:
        """Probe at random until an address is listed: IPv4 anywhere, IPv6 inside the registries' blocks."""
        width, make = (32, IPv4Address) if version == 4 else (128, IPv6Address)
        while True:
            number = self._rng.getrandbits(width)
            if version == 6:
                top = self._rng.choice(_REGISTRIES) | self._rng.getrandbits(4)
                number = (top << 112) | (number & ((1 << 112) - 1) & ~((1 << 80) - 1))
            record, length = reader.get_with_prefix_len(make(number))
            if record:
                host_bits = width - length
                return number >> host_bits << host_bits, host_bits, version

    def draw(self) -> str:
        """The text of an address in one of the networks."""
        first, host_bits, version = self._rng.choice(self._networks)
        number = first | self._rng.getrandbits(host_bits) if host_bits else first
        return str(IPv4Address(number) if version == 4 else IPv6Address(number))


class Traffic:
    """An endless stream of records.

    Args:
        addresses: where people are.
        rng: seeded by the caller.
        accounts: who owns the meetings.
        meetings: how many there are; the n-th is 1/n times as popular as the first.
    """

    def __init__(self, addresses: Addresses, rng: random.Random, accounts: Sequence[str], meetings: int = 3000) -> None:
        self._addresses, self._rng = addresses, rng
        self._meetings = [(f"m-{i}", rng.choice(accounts)) for i in range(1, meetings + 1)]
        self._weights = list(accumulate(1 / rank for rank in range(1, meetings + 1)))
        self._live: list[dict[str, Any]] = []
        self._made = 0
        self._now = ""

    def batch(self, joins: int, now: str) -> list[Made]:
        """About so many joins with what goes along with them. ``now`` is the RFC 3339 time of the events."""
        self._now = now
        made = []
        for _ in range(joins):
            join = self._join()
            made.append(join)
            chance = self._rng.random()
            if chance < 0.01:
                made.append(join)  # the backend sent it twice
            elif chance < 0.16:
                made.append(self._update())
            elif chance < 0.46:
                made.append(self._leave())
            elif chance < 0.4615:
                made.append(self._malformed())
        return made

    def _join(self) -> Made:
        meeting, account = self._rng.choices(self._meetings, cum_weights=self._weights)[0]
        data = {
            "meeting": meeting,
            "account": account,
            "participation": f"p-{self._made}",
            "address": self._addresses.draw(),
            "role": self._rng.choices(_ROLES, weights=(5, 3, 80, 12))[0],
            "stage": "lobby" if self._rng.random() < 0.3 else "live",
            "sequence": 1,
        }
        self._live.append(data)
        return self._event(JOIN, data, "join", "decision")

    def _pick(self, remove: bool) -> dict[str, Any]:
        at = self._rng.randrange(len(self._live))
        if remove:
            self._live[at], self._live[-1] = self._live[-1], self._live[at]
            return self._live.pop()
        return self._live[at]

    def _update(self) -> Made:
        data = self._pick(remove=False)
        data["sequence"] += 1
        data["stage"] = "live"
        if self._rng.random() < 0.5:
            data["address"] = self._addresses.draw()
        return self._event(UPDATE, data, "update", "decision")

    def _leave(self) -> Made:
        data = self._pick(remove=True)
        kept = {key: data[key] for key in ("meeting", "account", "participation")}
        return self._event(LEAVE, kept, "leave", "nothing")

    def _malformed(self) -> Made:
        good = self._join()
        event = orjson.loads(good.value)
        data = event["data"]
        way = self._rng.randrange(8)
        if way == 0:
            return Made(good.key, good.value[:-1], "malformed", "dead_letter")
        if way == 1:
            return Made(good.key, b"[" * 100 + b"]" * 100, "malformed", "dead_letter")
        if way == 2:
            return Made(b"another-meeting", good.value, "malformed", "dead_letter")
        if way == 3:
            event["type"] = "doorward.join.v9"
        elif way == 4:
            del data["account"]
        elif way == 5:
            data["role"] = "janitor"
        elif way == 6:
            event["specversion"] = "0.3"
        else:
            data["address"] = "010.8.8.8"
            return Made(good.key, orjson.dumps(event), "malformed", "both")
        return Made(good.key, orjson.dumps(event), "malformed", "dead_letter")

    def _event(self, type_: str, data: dict[str, Any], kind: str, expect: Expect) -> Made:
        self._made += 1
        event = {
            "specversion": "1.0",
            "type": type_,
            "source": SOURCE,
            "id": f"e-{self._made}",
            "time": self._now,
            "data": data,
        }
        return Made(data["meeting"].encode(), orjson.dumps(event), kind, expect)
