"""Workers that are made to fail, each in one way: the simulation must notice every one of them.

Each is the real thing but for a line or two. What a mutation changes is what its name says.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from aiokafka.structs import TopicPartition

from streams.agents.joins import JoinsAgent
from streams.agents.sessions import SessionKeeper
from streams.agents.sweeps import Sweeper
from streams.core.sessions import Session
from streams.runtime.positions import Positions, Span
from streams.runtime.source import Chunk, Source
from tests.sim.worker import Table, Worker


class CommitsBeforeAcks(Worker):
    class Agent(JoinsAgent):
        async def run(self, chunks: Any) -> None:
            async for chunk in chunks:
                with chunk:
                    pass
                await self.answer(chunk)

    agent_type = Agent


class SkipsDeadLetters(Worker):
    class Agent(JoinsAgent):
        def _bury(self, *args: Any) -> None:
            return

    agent_type = Agent


class LosesTheSweepAfterRecovery(Worker):
    class Deaf(Sweeper):
        def recovered(self) -> None:
            self._adrift = False

    sweeper_type = Deaf


class LosesWhatASweepHadNotSaid(Worker):
    class Forgetful(SessionKeeper):
        def take_unsaid(self) -> list[tuple[int, Session]]:
            super().take_unsaid()
            return []

    keeper_type = Forgetful


class CommitsInAnyGeneration(Worker):
    """The coordinator takes them."""

    def __init__(self, world: Any, *args: Any) -> None:
        super().__init__(world, *args)
        world.brokers.group.accepts_any = True


class FinishesInAnyEpoch(Worker):
    class Blind(Source):
        class Any(Positions):
            def finish(self, epoch: int, spans: Mapping[TopicPartition, Span]) -> bool:
                return super().finish(self.epoch, {tp: span for tp, span in spans.items() if tp in self.done})

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.positions = self.Any()

        def check(self, chunk: Chunk) -> None:
            return

    source_type = Blind


class WritesUnderOneNumber(Worker):
    """Of a partition's owners the changelog can't tell the latest."""

    class Plain(Table):
        def own(self, partition: int, generation: int) -> None:
            super().own(partition, generation)
            self._numbers[partition] = 1

    table_type = Plain


class DoesNotSeek(Worker):
    """What was read and dropped is not read again."""

    class Onward(Source):
        class Lax(Positions):
            def put_back(self, spans: Mapping[TopicPartition, Span]) -> None:
                return

            def distrust(self, partitions: Iterable[TopicPartition]) -> None:
                return

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.positions = self.Lax()

    source_type = Onward


PLANTED: list[tuple[type[Worker], int]] = [
    (CommitsBeforeAcks, 0),
    (SkipsDeadLetters, 0),
    (LosesTheSweepAfterRecovery, 78),
    (LosesWhatASweepHadNotSaid, 335),
    (CommitsInAnyGeneration, 54),
    (FinishesInAnyEpoch, 240),
    (WritesUnderOneNumber, 300),
    (DoesNotSeek, 55),
]
"""Each with a seed from which on it shows before long."""
