"""The table of rights and the cluster: what is allowed, what should be, and the difference.

What may live here: loading `acls.yaml`, comparing it with a cluster's rules (ACLs), and adding those that lack.
Nothing reads or writes records here.

How it works. The table names roles; told who has each, it becomes rules: this user may do this to that. `plan`
reads all rules of the cluster. One of the table's that isn't there *lacks*. One that is there and not in the table
is *beyond* it, if it is a table's user's, or if it lets anybody do something to a topic of ours, by name, by prefix
or by `*`: write access to `decisions` bypasses every policy, so nobody should have to find such a rule by chance.
A rule that forbids is never beyond, and one the table allows lacks where it is forbidden. Rules on groups and on the
cluster concern only the table's users. Super users need no rules and aren't seen here.

`plan` needs the right Describe on the cluster, `apply` Alter. `apply` takes no right away: who else may read or
write may be meant, and to say so is all that is safe.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import for_code
from aiokafka.protocol.admin import CreateAclsRequest, DescribeAclsRequest
from ruamel.yaml import YAML

from streams.adapters.topics import load_manifest, manifest_file

WORKERS: Final = "WORKERS"
"""In the table: the workers' consumer group."""

_CLUSTER: Final = "kafka-cluster"
"""Kafka's name for the cluster as a thing that rules are about."""

_ANY: Final = 1
_LITERAL: Final = 3
_PREFIXED: Final = 4
"""Kinds of name patterns (KIP-290)."""

_DENY: Final = 2
_ALLOW: Final = 3
_SECURITY_DISABLED: Final = 54
"""Kafka error code SECURITY_DISABLED: the brokers have no authoriser."""

_VISIBLE_WITHIN: Final = 15.0
"""Seconds an acknowledged rule may take until the broker we ask shows it."""


class Thing(IntEnum):
    """What a rule is about, by Kafka's numbers (KIP-140)."""

    TOPIC = 2
    GROUP = 3
    CLUSTER = 4


class Operation(IntEnum):
    """What a rule lets be done, by Kafka's numbers and, in `title`, names (KIP-140)."""

    ALL = 2
    READ = 3
    WRITE = 4
    CREATE = 5
    DELETE = 6
    ALTER = 7
    DESCRIBE = 8
    CLUSTER_ACTION = 9
    DESCRIBE_CONFIGS = 10
    ALTER_CONFIGS = 11
    IDEMPOTENT_WRITE = 12

    @property
    def title(self) -> str:
        """As Kafka's own tools write it: DescribeConfigs."""
        return "".join(part.capitalize() for part in self.name.split("_"))


_Can = Literal["Read", "Write", "Create", "Describe", "Alter", "DescribeConfigs", "AlterConfigs"]


class AclsUnavailable(Exception):
    """The cluster has no authoriser; the message is one line."""


class RoleUnknown(ValueError):
    """The table has no such role; the message is one line."""


class Role(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One role of the table; the fields are explained at the top of `schemas/acls.yaml`."""

    role: str
    user: str
    topics: dict[str, list[_Can]]
    groups: dict[str, list[_Can]] = {}
    cluster: list[_Can] = []


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `acls.yaml` says."""

    roles: list[Role]

    def rules(self, group: str, users: Mapping[str, Sequence[str]] | None = None) -> set[Rule]:
        """The table as rules.

        Args:
            group: The workers' consumer group.
            users: Who has a role, by role, instead of the one that the table names.

        Raises:
            RoleUnknown: `users` names a role that isn't there.
        """
        users = users or {}
        if unknown := users.keys() - {each.role for each in self.roles}:
            known = ", ".join(each.role for each in self.roles)
            raise RoleUnknown(f"there is no role {', '.join(sorted(unknown))}; there are {known}")
        return {
            Rule(user, thing, group if (thing, name) == (Thing.GROUP, WORKERS) else name, _BY_TITLE[can])
            for role in self.roles
            for user in users.get(role.role) or (role.user,)
            for thing, named in (
                (Thing.TOPIC, role.topics),
                (Thing.GROUP, role.groups),
                (Thing.CLUSTER, {_CLUSTER: role.cluster}),
            )
            for name, all_can in named.items()
            for can in all_can
        }


_IMPLY_DESCRIBE: Final = (Operation.READ, Operation.WRITE, Operation.DELETE, Operation.ALTER)
"""What whoever may do it may describe as well (KIP-11); AlterConfigs implies DescribeConfigs likewise (KIP-133)."""

_BY_TITLE: Final = {operation.title: operation for operation in Operation}


@dataclass(frozen=True, order=True)
class Rule:
    """A user may do something to a thing.

    Attributes:
        user: Kafka's principal without its `User:`; of another kind than users, whole.
        thing: What kind of thing.
        name: Its name, or the beginning of names if `prefixed`; `*` for all.
        operation: What may be done.
        host: From where; `*` from anywhere.
        prefixed: Whether `name` is a beginning.
        denied: Whether it may not be done, whatever else is allowed.
    """

    user: str
    thing: Thing
    name: str
    operation: Operation
    host: str = "*"
    prefixed: bool = False
    denied: bool = False

    def __str__(self) -> str:
        named = f"{self.thing.name.lower()} {self.name}{'…' if self.prefixed else ''}"
        what = "the cluster" if self.thing is Thing.CLUSTER else named
        where = "" if self.host == "*" else f" from {self.host}"
        return f"{self.user} {'may not' if self.denied else 'may'} {self.operation.title} {what}{where}"

    def is_on(self, names: Iterable[str]) -> bool:
        """Whether it is about one of these names."""
        if self.prefixed:
            return any(name.startswith(self.name) for name in names)
        return self.name == "*" or self.name in names


@dataclass(frozen=True)
class Plan:
    """A cluster's rules against the table.

    Attributes:
        lacking: Rules of the table that aren't there.
        beyond: Rules that are there, concern us and aren't the table's.
        forbidden: Rules that take from the table's users what the table gives them.
    """

    lacking: list[Rule]
    beyond: list[Rule]
    forbidden: list[Rule]

    @property
    def is_met(self) -> bool:
        """Whether all is as the table says."""
        return not (self.lacking or self.beyond or self.forbidden)


def table_file() -> Path:
    """The table, beside the topics' manifest: inside an installed package, else in the source tree."""
    return manifest_file().with_name("acls.yaml")


def load_table(file: Path | None = None) -> Table:
    """Reads the table.

    Args:
        file: Another file than Doorward's own.

    Raises:
        OSError: It can't be read.
        ruamel.yaml.error.YAMLError: It is not YAML 1.2.
        msgspec.ValidationError: It is no table.
        KeyError: It names a topic that `topics.yaml` has not.
    """
    table = msgspec.convert(YAML(typ="safe", pure=True).load(file or table_file()), Table)
    manifest = load_manifest()
    for role in table.roles:
        for name in role.topics:
            manifest.topic(name)
    return table


def compare(wanted: AbstractSet[Rule], found: AbstractSet[Rule]) -> Plan:
    """The difference; see the module for what counts."""
    users = {rule.user for rule in wanted}
    topics = {rule.name for rule in wanted if rule.thing is Thing.TOPIC}
    denied = [rule for rule in found if rule.denied and _takes_from(rule, wanted)]
    beyond = [
        rule
        for rule in found - wanted - _implied(wanted)
        if not rule.denied and (rule.user in users or (rule.thing is Thing.TOPIC and rule.is_on(topics)))
    ]
    return Plan(sorted(wanted - found), sorted(beyond), sorted(denied))


def _implied(rules: AbstractSet[Rule]) -> set[Rule]:
    describing = {replace(rule, operation=Operation.DESCRIBE) for rule in rules if rule.operation in _IMPLY_DESCRIBE}
    altering = {rule for rule in rules if rule.operation is Operation.ALTER_CONFIGS}
    return describing | {replace(rule, operation=Operation.DESCRIBE_CONFIGS) for rule in altering}


def _takes_from(denial: Rule, wanted: Iterable[Rule]) -> bool:
    return any(
        denial.user in (rule.user, "*")
        and denial.thing is rule.thing
        and denial.is_on((rule.name,))
        and denial.operation in (rule.operation, Operation.DESCRIBE, Operation.ALL)
        for rule in wanted
    )


async def plan(admin: AIOKafkaAdminClient, wanted: AbstractSet[Rule]) -> Plan:
    """Compares the cluster with the table's rules; changes nothing.

    Raises:
        AclsUnavailable: See there.
        aiokafka.errors.KafkaError: The cluster did not answer, or with an error.
    """
    return compare(wanted, await found(admin))


async def apply(admin: AIOKafkaAdminClient, wanted: AbstractSet[Rule]) -> tuple[list[Rule], Plan]:
    """Adds what lacks; takes nothing away.

    Returns:
        The rules added, and what is left.

    Raises:
        AclsUnavailable: See there.
        aiokafka.errors.KafkaError: The cluster did not answer, or refused a rule.
    """
    lacking = (await plan(admin, wanted)).lacking
    for rule in lacking:
        await _add(admin, rule)
    deadline = time.monotonic() + _VISIBLE_WITHIN
    while True:
        left = await plan(admin, wanted)
        if not left.lacking or time.monotonic() > deadline:
            return [rule for rule in lacking if rule not in left.lacking], left
        await asyncio.sleep(0.05)


async def found(admin: AIOKafkaAdminClient) -> set[Rule]:
    """All rules of a cluster on topics, groups and itself. Raises as `plan`."""
    request = DescribeAclsRequest(_ANY, None, _ANY, None, None, _ANY, _ANY)
    answer = (await _ask(admin, request)).to_object()
    if answer["error_code"] == _SECURITY_DISABLED:
        raise AclsUnavailable("the brokers have no authoriser (authorizer.class.name): everybody may do everything")
    if answer["error_code"]:
        raise for_code(answer["error_code"])("can't read rights: Describe on the cluster is wanted")
    return {
        Rule(
            user=acl["principal"].removeprefix("User:"),
            thing=Thing(resource["resource_type"]),
            name=resource["resource_name"],
            operation=Operation(acl["operation"]),
            host=acl["host"],
            prefixed=resource["resource_pattern_type"] == _PREFIXED,
            denied=acl["permission_type"] == _DENY,
        )
        for resource in answer["resources"]
        if resource["resource_type"] in list(Thing)
        for acl in resource["acls"]
    }


async def _add(admin: AIOKafkaAdminClient, rule: Rule) -> None:
    request = CreateAclsRequest(rule.thing, rule.name, _LITERAL, f"User:{rule.user}", rule.host, rule.operation, _ALLOW)
    for code, message in (await _ask(admin, request)).creation_responses:
        if code:
            raise for_code(code)(f"can't allow that {rule}: {message}")


async def _ask(admin: AIOKafkaAdminClient, request: Any) -> Any:
    return await admin._send_request(request)  # noqa: SLF001 - aiokafka 0.14 knows these requests and has no method
