"""What there is to know of a cluster of brokers before one of them is done something to, and after."""

import asyncio
import time
from collections import Counter

from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from streams.adapters import topics
from streams.dev.sandbox import GROUP

BROKERS = 3
WHOLE_SECONDS = 60.0


async def demand(bootstrap: str, topic: str, replicas: int | None) -> None:
    """Have a topic want so many in-sync replicas; None for what the manifest says."""
    settings = topics.load_manifest().topic(topic).settings(BROKERS)
    if replicas is not None:
        settings["min.insync.replicas"] = str(replicas)
    async with topics.connected(bootstrap) as admin:
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, settings)])


async def busiest(bootstrap: str) -> int:
    """The broker that leads most partitions of what workers read and write."""
    async with topics.connected(bootstrap) as admin:
        found = await admin.describe_topics(["joins", "decisions"])
    leaders = Counter(partition["leader"] for topic in found for partition in topic["partitions"])
    return leaders.most_common(1)[0][0]


async def coordinator(bootstrap: str) -> int:
    """The broker that keeps the workers' group."""
    async with topics.connected(bootstrap) as admin:
        return int(await admin.find_coordinator(GROUP))


async def neither(bootstrap: str) -> int:
    """A broker that does not keep the workers' group."""
    return await coordinator(bootstrap) % BROKERS + 1


async def whole(bootstrap: str) -> None:
    """Return when every replica of every partition is in sync."""
    deadline = time.monotonic() + WHOLE_SECONDS
    while True:
        async with topics.connected(bootstrap) as admin:
            parts = [part for topic in await admin.describe_topics() for part in topic["partitions"]]
        late = [part for part in parts if len(part["isr"]) < len(part["replicas"])]
        if not late:
            return
        assert time.monotonic() < deadline, late
        await asyncio.sleep(0.2)
