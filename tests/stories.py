"""What happens to one participation, drawn at random: for the simulations of a worker's logic and of its runtime."""

from random import Random
from typing import Any

from streams.core import instants
from tests.samples import NOON


def events(
    random: Random, number: int, whose: dict[str, str], addresses: list[str], *, most: int, chance: float
) -> list[dict[str, Any]]:
    """Its CloudEvents in the order in which they arrive: a join, updates, perhaps a leave, perhaps one of them twice.

    Args:
        random: what decides.
        number: makes the events' ids.
        whose: account, meeting and participation.
        addresses: where they may come from.
        most: joins and updates.
        chance: of a leave, and of an order that is no order.
    """
    counted, found = random.random() < 0.5, []
    for n in range(random.randint(1, most)):
        data = whose | {"address": random.choice(addresses), "role": random.choice(["host", "guest"])}
        event = {"specversion": "1.0", "source": "/edge", "id": f"{number}-{n}"}
        event |= {"type": f"doorward.{'update' if n else 'join'}.v1"}
        stamp = {"time": instants.render(NOON + n * 1000)}
        found.append(event | ({"data": data | {"sequence": n}} if counted else {"data": data} | stamp))
    if random.random() < chance:
        leave = {"specversion": "1.0", "source": "/edge", "id": f"{number}-x", "type": "doorward.leave.v1"}
        found.append(leave | {"data": whose})
    if random.random() < chance:
        random.shuffle(found)
    return found + random.sample(found, random.choice([0, 0, 1]))
