"""The topics manifest and the cluster: what should be, what is, and the difference.

What may live here: loading `topics.yaml`, comparing it with a cluster, and making the cluster like it. Nothing reads
or writes records here.

How it works. `plan` looks at a cluster and returns differences; everything else is built on it. How many partitions N
stands for, and how many replicas there are, is the cluster's own choice once `joins` exists: unless told otherwise
`plan` measures every other topic against that. So it needs no settings at the worker's start, and the topics that
must have as many partitions as `joins` are held to it whatever that number is.

`plan` and `check` need the rights Describe and DescribeConfigs on the topics; `apply` needs Create and AlterConfigs.

Traps of aiokafka 0.14 met here: asking for metadata of a *named* topic lets brokers create it, so all topics are
listed; the only way to alter settings replaces them all, so a topic's other settings are sent along.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaConnectionError, KafkaError, for_code
from ruamel.yaml import YAML

from streams.adapters.kafka import failure, refusal

log = logging.getLogger(__name__)

_CHOOSER: Final = "joins"
"""The topic whose partitions and replicas the others follow."""

_IN_SYNC: Final = "min.insync.replicas"

_SET_ON_TOPIC: Final = 1
"""DescribeConfigs: source of a setting made on the topic itself (KIP-226, DYNAMIC_TOPIC_CONFIG)."""

_ALREADY_EXISTS: Final = 36
"""Kafka error code TOPIC_ALREADY_EXISTS: another `apply` was quicker."""

_VISIBLE_WITHIN: Final = 15.0
"""Seconds an acknowledged change may take until the brokers we ask show it."""


class BrokerUnavailable(Exception):
    """No broker answers, or it refuses us; the message is one line that names the setting."""


class BootstrapMalformed(ValueError):
    """The brokers' address is not written as one; the message is one line that names the setting."""


class TopicsDiffer(Exception):
    """The cluster's topics are not as the manifest says.

    Attributes:
        differences: All of them; the message holds them on one line.
    """

    def __init__(self, differences: Sequence[Difference]) -> None:
        self.differences = tuple(differences)
        super().__init__("; ".join(map(str, self.differences)))


class Topic(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One topic of the manifest; the fields are explained at the top of `schemas/topics.yaml`."""

    name: str
    key: str
    partitions: int | Literal["N"]
    config: dict[str, str | int]
    content: list[str]

    def settings(self, replication: int) -> dict[str, str]:
        """Kafka's settings for this topic, as Kafka prints them, at a number of replicas."""
        majority = replication // 2 + 1
        return {**{name: str(value) for name, value in self.config.items()}, _IN_SYNC: str(majority)}


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `topics.yaml` says.

    Attributes:
        partitions: What N stands for where nothing else was chosen.
        replication: Replicas of each partition where nothing else was chosen.
        topics: All topics, in the file's order.
    """

    partitions: int
    replication: int
    topics: list[Topic]

    def topic(self, name: str) -> Topic:
        """The topic of that name.

        Raises:
            KeyError: There is none.
        """
        for topic in self.topics:
            if topic.name == name:
                return topic
        raise KeyError(name)


@dataclass(frozen=True)
class Difference:
    """One thing that is not as it should be.

    Attributes:
        topic: Its topic.
        setting: `topic` when the whole topic is missing, `partitions`, `replication`, or the name of a Kafka setting.
        found: What is; None when nothing is, or we may not see it.
        wanted: What should be.
    """

    topic: str
    setting: str
    found: str | None
    wanted: str

    @property
    def can_apply(self) -> bool:
        """Whether `apply` may put it right. It never deletes, nor moves records to other partitions or brokers."""
        return self.setting not in ("partitions", "replication")

    @property
    def is_harmless(self) -> bool:
        """Whether a worker may live with it: more replicas are to have each record than the manifest asks for.

        Fewer failures are survived without waiting then, and nothing more is lost.
        """
        return self.setting == _IN_SYNC and self.found is not None and int(self.found) > int(self.wanted)

    def __str__(self) -> str:
        if self.setting == "topic":
            return f"topic {self.topic}: is missing, or this user has no right to describe it; should be {self.wanted}"
        if self.found is None:
            return f"topic {self.topic}: {self.setting} can't be read; should be {self.wanted}"
        return f"topic {self.topic}: {self.setting} is {self.found}, should be {self.wanted}"


@dataclass(frozen=True)
class _Found:
    """A topic as the cluster has it: all settings in force, and the ones set on the topic itself."""

    partitions: int
    replication: int
    settings: dict[str, str]
    own: dict[str, str]


def manifest_file() -> Path:
    """The manifest inside an installed package, else the one of the source tree."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "_schemas" / "topics.yaml"
    return installed if installed.is_file() else package.parent / "schemas" / "topics.yaml"


def load_manifest(file: Path | None = None) -> Manifest:
    """Reads the manifest.

    Args:
        file: Another file than Doorward's own.

    Raises:
        OSError: It can't be read.
        ruamel.yaml.error.YAMLError: It is not YAML 1.2.
        msgspec.ValidationError: It is no manifest.
    """
    loaded = YAML(typ="safe", pure=True).load(file or manifest_file())
    return msgspec.convert(loaded, Manifest)


@asynccontextmanager
async def connected(bootstrap: str, patience: float = 10.0, **security: Any) -> AsyncIterator[AIOKafkaAdminClient]:
    """An admin client, closed at the end; what Kafka raises inside becomes `BrokerUnavailable`.

    Args:
        bootstrap: `host:port`, several with commas between.
        patience: Seconds a connection or an answer may take.
        security: How to connect: `streams.adapters.kafka.Connection.security_options`.

    Raises:
        BrokerUnavailable: Nobody answers there, or an answer is an error.
        BootstrapMalformed: `bootstrap` is not written like that.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=int(patience * 1000), **security)
    try:
        await _start(admin, bootstrap, security)
        yield admin
    except (KafkaError, OSError, TimeoutError) as error:
        raise BrokerUnavailable(failure(error, bootstrap, security)) from error
    finally:
        await admin.close()


async def _start(admin: AIOKafkaAdminClient, bootstrap: str, security: dict[str, Any]) -> None:
    malformed = f"DOORWARD_KAFKA_BOOTSTRAP is {bootstrap!r}, should be host:port, several with commas between"
    if not all(part.strip() for part in bootstrap.split(",")):
        raise BootstrapMalformed(malformed)
    try:
        await admin.start()
    except ValueError as error:  # a port that is no number
        raise BootstrapMalformed(malformed) from error
    except KafkaConnectionError as error:
        why = await refusal(bootstrap, **security)
        raise BrokerUnavailable(why or f"no Kafka answers at {bootstrap} (DOORWARD_KAFKA_BOOTSTRAP)") from error


async def plan(
    admin: AIOKafkaAdminClient, manifest: Manifest, replication: int | None = None, partitions: int | None = None
) -> list[Difference]:
    """Compares the cluster with the manifest; changes nothing.

    Args:
        admin: A started client.
        manifest: What should be.
        replication: Replicas wanted; None for as many as `joins` has, else the manifest's number.
        partitions: What N stands for; None likewise.

    Returns:
        All differences, in the manifest's order; none means all is well.

    Raises:
        aiokafka.errors.KafkaError: The cluster did not answer, or with an error.
    """
    found = await _found(admin, manifest)
    replication, partitions = _chosen(found, manifest, replication, partitions)
    return [
        difference
        for topic in manifest.topics
        for difference in _compare(topic, found.get(topic.name), replication, partitions)
    ]


async def check(admin: AIOKafkaAdminClient, manifest: Manifest) -> int:
    """What a worker does at its start: all topics are there and as they should be, N being what `joins` has.

    What is otherwise and harmless is logged.

    Returns:
        N.

    Raises:
        TopicsDiffer: They are not.
        aiokafka.errors.KafkaError: The cluster did not answer, or with an error.
    """
    differences = await plan(admin, manifest)
    if any(not each.is_harmless for each in differences):
        raise TopicsDiffer(differences)
    for each in differences:
        log.warning("%s; going on, as that loses nothing", each)
    return (await _found(admin, manifest))[_CHOOSER].partitions


async def apply(
    admin: AIOKafkaAdminClient, manifest: Manifest, replication: int | None = None, partitions: int | None = None
) -> tuple[list[Difference], list[Difference]]:
    """Creates missing topics and alters settings. Never deletes, never changes partitions or replicas.

    Args:
        admin: A started client.
        manifest: What should be.
        replication: As for `plan`.
        partitions: As for `plan`.

    Returns:
        The differences put right, and those left; of the latter, ones it may not touch (`can_apply` is false).

    Raises:
        aiokafka.errors.KafkaError: The cluster did not answer, or refused a change.
    """
    found = await _found(admin, manifest)
    replication, partitions = _chosen(found, manifest, replication, partitions)
    before = await plan(admin, manifest, replication, partitions)
    missing = [topic for topic in manifest.topics if topic.name not in found]
    wrong = dict.fromkeys(each.topic for each in before if each.can_apply and each.topic in found)
    if missing:
        await _create(admin, missing, replication, partitions)
    for name in wrong:
        await _alter(admin, manifest.topic(name), found[name])
    deadline = time.monotonic() + _VISIBLE_WITHIN
    while True:
        left = await plan(admin, manifest, replication, partitions)
        if not any(each.can_apply for each in left) or time.monotonic() > deadline:
            return [each for each in before if each not in left], left
        await asyncio.sleep(0.1)


def _chosen(
    found: dict[str, _Found], manifest: Manifest, replication: int | None, partitions: int | None
) -> tuple[int, int]:
    """Replicas and N: as told, else as `joins` has them, else as the manifest says."""
    joins = found.get(_CHOOSER)
    return (
        replication or (joins.replication if joins else manifest.replication),
        partitions or (joins.partitions if joins else manifest.partitions),
    )


def _partitions(topic: Topic, n: int) -> int:
    return n if topic.partitions == "N" else topic.partitions


def _compare(topic: Topic, found: _Found | None, replication: int, n: int) -> list[Difference]:
    partitions = _partitions(topic, n)
    if found is None:
        wanted = f"{partitions} partitions, replication {replication}"
        return [Difference(topic.name, "topic", None, wanted)]
    differences = []
    if found.partitions != partitions:
        why = f" (as many as {_CHOOSER})" if topic.partitions == "N" and topic.name != _CHOOSER else ""
        differences.append(Difference(topic.name, "partitions", str(found.partitions), f"{partitions}{why}"))
    if found.replication != replication:
        differences.append(Difference(topic.name, "replication", str(found.replication), str(replication)))
    # At the replicas there are, not the ones wanted: demanding 2 in sync of a single replica would stop all writing.
    for name, wanted in topic.settings(found.replication).items():
        if found.settings.get(name) != wanted:
            differences.append(Difference(topic.name, name, found.settings.get(name), wanted))
    return differences


async def _found(admin: AIOKafkaAdminClient, manifest: Manifest) -> dict[str, _Found]:
    """The manifest's topics that exist, by name."""
    wanted = {topic.name for topic in manifest.topics}
    listed = {entry["topic"]: entry for entry in await admin.describe_topics() if entry["topic"] in wanted}
    present = {name: entry["partitions"] for name, entry in listed.items() if entry["partitions"]}
    settings = await _settings(admin, list(present))
    return {
        name: _Found(
            partitions=len(parts),
            replication=min(len(part["replicas"]) for part in parts),
            settings={entry["config_names"]: entry["config_value"] for entry in settings.get(name, ())},
            own={
                entry["config_names"]: entry["config_value"]
                for entry in settings.get(name, ())
                if entry["config_source"] == _SET_ON_TOPIC
            },
        )
        for name, parts in present.items()
    }


async def _settings(admin: AIOKafkaAdminClient, names: list[str]) -> dict[str, list[dict[str, Any]]]:
    """Settings by topic, as Kafka's DescribeConfigs gives them; a topic we may not ask about is left out."""
    if not names:
        return {}
    answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in names])
    resources = [resource for answer in answers for resource in answer.to_object()["resources"]]
    return {
        resource["resource_name"]: resource["config_entries"] for resource in resources if not resource["error_code"]
    }


async def _create(admin: AIOKafkaAdminClient, topics: list[Topic], replication: int, n: int) -> None:
    new = [
        NewTopic(topic.name, _partitions(topic, n), replication, topic_configs=topic.settings(replication))
        for topic in topics
    ]
    answer = await admin.create_topics(new)
    for name, code, message in answer.topic_errors:
        if code not in (0, _ALREADY_EXISTS):
            raise for_code(code)(f"can't create topic {name}: {message}")


async def _alter(admin: AIOKafkaAdminClient, topic: Topic, found: _Found) -> None:
    settings = {**found.own, **topic.settings(found.replication)}
    answers = await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic.name, settings)])
    for code, message, _, name in (resource for answer in answers for resource in answer.resources):
        if code:
            raise for_code(code)(f"can't alter topic {name}: {message}")
