"""The fence: a last look before a batch leaves for a broker.

aiokafka's producer keeps a batch until it is acknowledged or has expired, and sends it when it can: once its partition
has a leader, once the request before it is answered, again after a refusal. By then whoever gave the batch may have
lost the right to write it. So a batch carries a guard, and the guard is asked each time, in the same turn of the event
loop in which the request is handed to the socket. What the guard does not let through fails, and never leaves.

Between that look and the broker lies the network, which the lease's margin is for.
"""
# ruff: noqa: SLF001 - reaching into the pinned aiokafka is what this file is for

from collections.abc import Callable, Mapping
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.client import ConnectionGroup
from aiokafka.errors import NodeNotReadyError
from aiokafka.protocol.produce import ProduceRequest

_GUARD: Final = "_doorward_guard"  # on a builder: aiokafka's batch, made of it later, leads back to it


class Guard:
    """A check for the batches of one attempt: once it has refused one it refuses all that follow.

    Else a batch could pass when the one before it did not, and its partition's order would be lost.

    Args:
        check: Raises when nothing may be written.
    """

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self._refusal: Exception | None = None

    def __call__(self) -> None:
        """Raise what the check raises, or raised."""
        if self._refusal is not None:
            raise self._refusal
        try:
            self._check()
        except Exception as exc:
            self._refusal = exc
            raise


def put(builder: Any, guard: Guard) -> None:
    """Have a batch's guard asked before each request that carries it; an earlier guard of it counts no more."""
    setattr(builder, _GUARD, guard)


def install(producer: AIOKafkaProducer) -> None:
    """Have a producer ask guards. Calling it again changes nothing.

    Args:
        producer: Started or not.
    """
    sender, client = producer._sender, producer.client
    if hasattr(sender, _GUARD):
        return
    setattr(sender, _GUARD, True)
    send_batches, send = sender._send_produce_req, client.send

    async def send_guarded(node: int, batches: Mapping[Any, Any]) -> None:
        await client.ready(node)  # connects where need be: nothing below waits any more until the request is written
        allowed = {}
        for partition, batch in batches.items():
            try:
                getattr(batch._builder, _GUARD, _anybody)()
            except Exception as exc:  # whatever it raises is its sender's to judge
                batch.failure(exc)
                sender._muted_partitions.discard(partition)
            else:
                allowed[partition] = batch
        if allowed:
            await send_batches(node, allowed)
        else:
            sender._in_flight.discard(node)

    async def send_at_once(node: int, request: Any, *, group: ConnectionGroup = ConnectionGroup.DEFAULT) -> Any:
        if isinstance(request, ProduceRequest):
            connection = client._conns.get((node, group))
            if connection is None or not connection.connected():
                raise NodeNotReadyError(f"not connected to node {node}")
        return await send(node, request, group=group)

    sender._send_produce_req = send_guarded
    client.send = send_at_once


def _anybody() -> None:
    """The guard of a batch that has none."""
