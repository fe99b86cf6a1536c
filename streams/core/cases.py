"""The cases of a policy test: a join made up, the verdict expected of it, and whether it came so.

A case is data that somebody wrote beside a document (``streams.wire.testfiles`` reads it); what is tested is the
decision itself, ``streams.core.decide.judge``, so that a case and a worker cannot disagree. Facts are given in the
case's own words or looked up, and pass through ``streams.core.facts.settle`` either way: an exit in France is a place
not known here too. No clock is asked. A case says its time where the documents that reach it have windows, and needs
none elsewhere, so that what passes today passes in a year.
"""

from collections.abc import Callable, Iterator
from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Meta, UnsetType

from streams.core import address
from streams.core.address import BadAddress
from streams.core.decide import Judgement, judge
from streams.core.events import Id, JoinData, OutcomeName, Role, Stage
from streams.core.facts import (
    ANY_CONNECTION,
    CONTINENTS,
    NOTHING_KNOWN,
    OTHER,
    Facts,
    Vocabulary,
    connection_bits,
    settle,
)
from streams.core.index import Index
from streams.core.policy import VERDICTS, Verdict

Connection: TypeAlias = Literal["tor", "vpn", "proxy", "relay", "hosting", "mobile", "residential", "other"]
Text: TypeAlias = Annotated[str, Meta(min_length=1)]
Asn: TypeAlias = Annotated[int, Meta(ge=0, le=2**32 - 1)]

ANY_MEETING: Final = "any"
"""The meeting of a join that names none."""
NONE: Final = "none"
"""What a case writes, and reads, for no document, no rule, no outcome or no decision."""
UNLISTED: Final = ANY_CONNECTION & ~connection_bits(["tor", "vpn", "proxy", "relay"])
"""What is left possible where an anonymity database does not list the address (ruling 5)."""


class Join(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A join, made up: who joins which meeting, and what is known of where from.

    Attributes:
        account: Whose meeting it is; left out, the file's.
        meeting: Its id; left out, the file's, or one that no document names.
        role: Who joins.
        stage: Whether the person waits for the answer (lobby) or is in already (live).
        address: Looked up in the geo files, unless facts are given beside it; it is what ``network`` looks at.
        country: ISO 3166-1. Facts left out are not known.
        subdivision: ISO 3166-2.
        continent: Two letters; known wherever the country is.
        asn: Autonomous system number.
        connection: The one it is, or a list of those it may be; ``unlisted`` where an anonymity database is loaded and
            does not list the address. Left out: no anonymity data. A known tor, vpn or proxy hides the place.
    """

    account: Id | UnsetType = UNSET
    meeting: Id | UnsetType = UNSET
    role: Role = "participant"
    stage: Stage = "live"
    address: str | UnsetType = UNSET
    country: str | UnsetType = UNSET
    subdivision: str | UnsetType = UNSET
    continent: str | UnsetType = UNSET
    asn: Asn | UnsetType = UNSET
    connection: Connection | Literal["unlisted"] | Annotated[list[Connection], Meta(min_length=1)] | UnsetType = UNSET

    @property
    def states_facts(self) -> bool:
        """Whether facts are given, so that none are looked up."""
        return any(getattr(self, fact) is not UNSET for fact in FACTS)


FACTS: Final = ("country", "subdivision", "continent", "asn", "connection")


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is expected of a decision; what is left out may be anything.

    Attributes:
        verdict: Of the join.
        document: Path of the deciding document; ``none`` where none applies.
        rule: The deciding rule's id; ``none`` where no rule decides.
        outcome: How the deciding document came to it; ``none`` where none applies.
    """

    verdict: Verdict
    document: Text | UnsetType = UNSET
    rule: Text | UnsetType = UNSET
    outcome: OutcomeName | Literal["none"] | UnsetType = UNSET


class Expected(Answer, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is expected of the decision and of the one in report mode beside it.

    Attributes:
        verdict: Of the join.
        document: Path of the deciding document; ``none`` where none applies.
        rule: The deciding rule's id; ``none`` where no rule decides.
        outcome: How the deciding document came to it; ``none`` where none applies.
        report: What the documents in report mode would have said; ``none`` where there is no such document.
    """

    report: Verdict | Literal["none"] | Answer | UnsetType = UNSET


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One case.

    Attributes:
        case: What it shows, in words; unique in its file.
        join: The join, or a list of joins that are all answered alike.
        expect: The verdict, or more than that.
        now: When, RFC 3339; left out, the file's. Asked for where a document that reaches the join has a window.
    """

    case: Text
    join: Join | Annotated[list[Join], Meta(min_length=1)]
    expect: Verdict | Expected
    now: str | UnsetType = UNSET

    @property
    def joins(self) -> list[Join]:
        """Its joins, as a list."""
        return self.join if isinstance(self.join, list) else [self.join]

    @property
    def expected(self) -> Expected:
        """What it expects, in full."""
        return self.expect if isinstance(self.expect, Expected) else Expected(verdict=self.expect)


class Came(msgspec.Struct, frozen=True):
    """What a decision came to; ``none`` where there is no such thing."""

    verdict: str
    document: str
    rule: str
    outcome: str


class Difference(msgspec.Struct, frozen=True):
    """One thing that came otherwise; ``what`` is ``verdict``, ``report.rule`` and so on."""

    what: str
    expected: str
    came: str


def faults(join: Join, vocabulary: Vocabulary) -> Iterator[tuple[str, str]]:
    """What is wrong with the facts a join gives: the key and a message."""
    known = (("country", vocabulary.countries), ("subdivision", vocabulary.subdivisions), ("continent", CONTINENTS))
    unknown = [key for key, codes in known if getattr(join, key) is not UNSET and getattr(join, key) not in codes]
    for key in unknown:
        yield key, f"{getattr(join, key)!r} is no {key} code"
    country, subdivision = join.country, join.subdivision
    if not unknown and country is not UNSET and subdivision is not UNSET and subdivision[:2] != country:
        yield "subdivision", f"{subdivision} is not in {country}"
    if join.address is not UNSET and join.states_facts:
        try:
            address.parse(join.address)
        except BadAddress:
            yield "address", "nothing is known of an address that is none; leave out the facts or the address"


def join_data(join: Join, account: str, meeting: str) -> JoinData:
    """The join as decisions take it; the file's account and meeting where it names none."""
    return JoinData(
        meeting=join.meeting or meeting,
        account=join.account or account,
        participation="p-1",
        address="",  # its facts hold it
        role=join.role,
        stage=join.stage,
    )


def facts_of(join: Join, vocabulary: Vocabulary, look_up: Callable[[str], Facts]) -> Facts:
    """What is known of a join without ``faults``; ``look_up`` may raise BadAddress (design §4, rule 7)."""
    if not join.states_facts:
        try:
            return NOTHING_KNOWN if join.address is UNSET else look_up(join.address)
        except BadAddress:
            return NOTHING_KNOWN
    return settle(
        vocabulary,
        address=address.parse(join.address) if join.address is not UNSET else None,
        country=join.country or None,
        subdivision=join.subdivision or None,
        continent=join.continent or None,
        asn=None if join.asn is UNSET else join.asn,
        connection=_bits(join.connection),
    )


def _bits(given: str | list[Connection] | UnsetType) -> int:
    if given is UNSET:
        return ANY_CONNECTION
    if given == "unlisted":
        return UNLISTED
    names = [given] if isinstance(given, str) else given
    return connection_bits(name for name in names if name != "other") | (OTHER if "other" in names else 0)


def timed(index: Index, data: JoinData) -> list[str]:
    """The paths that reach a join and have a window: what they say depends on the time."""
    return [
        slot.path
        for slot in index.reaching(data.account, data.meeting)
        if any(
            not each.document.retracted and (each.document.not_before, each.document.not_after) != (None, None)
            for each in slot.revisions
        )
    ]


def try_out(index: Index, data: JoinData, facts: Facts, at: int, expected: Expected) -> list[Difference]:
    """Decide a join, and say what came otherwise than expected; nothing where all is well."""
    enforced, reported = judge(index, data, facts, at, rosters=True)
    found = list(_differences("", expected, came(enforced)))
    if expected.report is UNSET:
        return found
    if isinstance(expected.report, Answer):
        return found + list(_differences("report.", expected.report, came(reported)))
    verdict = came(reported).verdict
    return found if verdict == expected.report else [*found, Difference("report", expected.report, verdict)]


def came(judgement: Judgement | None) -> Came:
    """A judgement as cases speak of it; None is the report of documents that do not report."""
    if judgement is None:
        return Came(NONE, NONE, NONE, NONE)
    verdict = VERDICTS[judgement.verdict]
    if judgement.finding is None or judgement.revision is None:
        return Came(verdict, NONE, NONE, NONE)
    rule = judgement.finding.rule
    return Came(verdict, judgement.revision.document.path, rule.id if rule else NONE, judgement.finding.outcome)


def _differences(prefix: str, expected: Answer, came: Came) -> Iterator[Difference]:
    for what in Came.__struct_fields__:
        wanted, got = getattr(expected, what), getattr(came, what)
        if wanted is not UNSET and wanted != got:
            yield Difference(prefix + what, wanted, got)
