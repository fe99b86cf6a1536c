"""What a careful colleague would say of a policy document: everything ``policy.parse`` refuses, and what it means.

``lint`` looks at one document; ``across`` at several together. A diagnostic names its place by a path into the
document; where that stands in a file is for ``streams.wire`` to know. What is exact here (which rules can decide) comes
from ``streams.core.reach``, the words from ``streams.core.diagnostics``, the proposals from ``streams.core.fixes``.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec

from streams.core import charter, cidrs
from streams.core.conditions import TERRITORIES, Condition
from streams.core.diagnostics import CODES, Severity
from streams.core.facts import ANONYMISED, NOTHING_KNOWN, Facts, Vocabulary
from streams.core.fixes import suggest
from streams.core.policy import LIMITS, ROLES, VERDICTS, Document, Invalid, Limits, Problem, Rule, parse
from streams.core.reach import CONNECTION_STATES, PEOPLE, Bottom, Dead, Person, Reach, Spent, bottom, places

MOST: Final = 100
"""Values of one list that are pointed out one by one; of more only how many."""


class Diagnostic(msgspec.Struct, frozen=True):
    """One thing to say of a document.

    Attributes:
        code: of ``streams.core.diagnostics.CODES``.
        severity: error, warning or note.
        path: where, as in ``streams.core.policy.Problem``.
        message: the reason, in words.
        fix: what to do.
        related: paths of other parts that it is about.
        at_key: whether the key of a field is meant, not its value.
    """

    code: str
    severity: Severity
    path: str
    message: str
    fix: str
    related: tuple[str, ...] = ()
    at_key: bool = False


class Given(msgspec.Struct, frozen=True):
    """What a deployment gives its documents.

    Attributes:
        now: ms since the epoch.
        facts: those of country, subdivision, continent and asn that its geo files give.
        connections: the sets of possible connections that they lead to, as bits.
        contest: whether it says itself how to contest (``DOORWARD_CONTEST``).
        limits: its greatest sizes.
    """

    now: int
    facts: frozenset[str] = frozenset({*TERRITORIES, "asn"})
    connections: tuple[int, ...] = CONNECTION_STATES
    contest: bool = True
    limits: Limits = LIMITS


def lint(value: Any, vocabulary: Vocabulary, given: Given) -> tuple[list[Diagnostic], Document | None]:
    """Everything to say of one document, and the document if it can be taken.

    Args:
        value: the plain JSON value.
        vocabulary: the codes that may be named.
        given: the deployment it is for.
    """
    try:
        document = parse(value, vocabulary, given.limits)
    except Invalid as exc:
        return [_of_problem(problem, value, vocabulary) for problem in exc.problems], None
    if document.retracted:
        return [], document
    return [*_Analysis(document, value, vocabulary, given).run()], document


def across(found: Iterable[tuple[str, int, bytes]]) -> Iterator[tuple[int, int, str]]:
    """What several documents together show (ruling 17).

    Args:
        found: path, revision and content of each.

    Yields:
        The index of one that comes again, the index of the first, and the code.
    """
    first: dict[tuple[str, int], tuple[int, bytes]] = {}
    for index, (path, revision, content) in enumerate(found):
        before, same = first.setdefault((path, revision), (index, content))
        if before != index:
            yield index, before, "repeat" if same == content else "revision-conflict"


def diagnostic(
    code: str, path: str, message: str, *, fix: str | None = None, related: Sequence[str] = (), at_key: bool = False
) -> Diagnostic:
    """A diagnostic with its code's severity, and its code's fix unless there is a better one."""
    entry = CODES[code]
    return Diagnostic(code, entry.severity, path, message, fix or entry.fix, tuple(related), at_key)


def _of_problem(problem: Problem, value: Any, vocabulary: Vocabulary) -> Diagnostic:
    fix = suggest(problem, value, vocabulary)
    at_key = problem.code in ("unknown-key", "C2-general")
    return diagnostic(problem.code, problem.path, problem.message, fix=fix, at_key=at_key)


class _Analysis:
    """Looks at one document that can be taken."""

    def __init__(self, document: Document, value: Any, vocabulary: Vocabulary, given: Given) -> None:
        self.document, self.value, self.vocabulary, self.given = document, value, vocabulary, given
        self.bottom: dict[Person, Bottom] = bottom(document)

    def run(self) -> Iterator[Diagnostic]:
        yield from self.window()
        yield from self.contest()
        yield from self.verdicts()
        yield from self.default()
        for i, rule in enumerate(self.document.rules):
            for condition in rule.conditions:
                yield from self.repeated(i, condition)
        yield from self.unavailable()
        yield from self.capped()
        try:
            reach = Reach(self.document, self.vocabulary)
            found = [*self.rules(reach), *self.removed(reach)]
        except Spent:
            message = f"{len(self.document.rules):,} rules are too many to tell which of them can decide"
            found = [diagnostic("not-analysed", "rules", message, at_key=True)]
        yield from found

    # -- the document ------------------------------------------------------------------------------------------

    def window(self) -> Iterator[Diagnostic]:
        document = self.document
        if document.not_after is not None and document.not_after <= self.given.now:
            yield diagnostic("expired", "not_after", "the window has closed; the document has no say")
        elif document.scope == "service":
            for _, path, message in charter.c5_notice(document, self.given.now):
                yield diagnostic("C5-notice", path, f"pushed now it would be refused: {message}")

    def contest(self) -> Iterator[Diagnostic]:
        document = self.document
        if document.can_remove and not (document.contest or self.given.contest):
            found = diagnostic("contest", "contest", "it can remove, and nothing says how to contest")
            yield msgspec.structs.replace(found, severity="error") if document.scope == "service" else found

    def possible(self, person: Person) -> set[int]:
        """The possible verdicts on somebody of whom nothing is known; nobody has others (``streams.core.reach``)."""
        found = self.bottom[person]
        verdicts = {self.document.rules[i].then for i in found.tried}
        return verdicts if found.ended else verdicts | {self.document.default}

    def verdicts(self) -> Iterator[Diagnostic]:
        document = self.document
        each = [self.possible(person) for person in PEOPLE]
        every = set().union(*each)
        if len(every) == 1 and document.rules and every != {charter.REMOVE}:
            verdict = VERDICTS[every.pop()]
            yield diagnostic("pointless-rules", "rules", f"the verdict is {verdict} for everyone", at_key=True)
        elif "unknown" in self.value and document.unknown not in every and all(len(some) == 1 for some in each):
            yield diagnostic("unused-unknown", "unknown", "no fact that is not known makes a difference here")

    def default(self) -> Iterator[Diagnostic]:
        document = self.document
        if not all(found.ended for found in self.bottom.values()):
            return
        last = sorted({found.tried[-1] for found in self.bottom.values()})
        if document.default not in {document.rules[i].then for i in last}:
            be = "is" if len(last) == 1 else "are between them"
            message = f"{self.named(last)} {be} true of everyone, so the default is never asked"
            yield diagnostic("unreachable-default", "default", message, related=_ids(last))

    def removed(self, reach: Reach) -> Iterator[Diagnostic]:
        document = self.document
        removed = {role for role in ROLES if self.removes(role, reach)}
        where = "wherever they join from"
        if any(self.possible(person) != {charter.REMOVE} for person in PEOPLE if person.role in removed):
            where += f" (where that is not known, `unknown` says {VERDICTS[document.unknown]})"
        if removed == set(ROLES):
            yield diagnostic("removes-everyone", "default", f"everyone is removed, hosts included, {where}")
        elif "host" in removed:
            yield diagnostic("removes-hosts", "default", f"every host is removed, {where}")

    def removes(self, role: str, reach: Reach) -> bool:
        """Whether whatever decides about a role says remove."""
        document = self.document
        asked = not all(found.ended for person, found in self.bottom.items() if person.role == role)
        if asked and document.default != charter.REMOVE:
            return False
        return not any(rule.then != charter.REMOVE and reach.decides(i, role) for i, rule in enumerate(document.rules))

    # -- rules -------------------------------------------------------------------------------------------------

    def rules(self, reach: Reach) -> Iterator[Diagnostic]:
        counting = {i for found in self.bottom.values() for i in found.tried}
        for i in range(len(self.document.rules)):
            if not reach.holds(i):
                yield self.contradiction(i)
            elif not reach.decides(i):
                others = reach.covering(i)
                code = "shadowed" if i in counting else "unreachable"
                message = f"{self.named(others)} {'is' if len(others) == 1 else 'are'} true wherever this rule is"
                if self.depends_on_table(i):
                    message += ", by the table of continents"
                yield diagnostic(code, f"rules[{i}].id", message, related=_ids(others))
            else:
                yield from self.values(i, reach)

    def depends_on_table(self, rule: int) -> bool:
        """Whether a geo file with continents of its own might let the rule decide (ruling 2)."""
        if not any(condition.field == "continent" for each in self.document.rules for condition in each.conditions):
            return False
        return Reach(self.document, self.vocabulary, own_continents=True).decides(rule)

    def contradiction(self, at: int) -> Diagnostic:
        """A rule that is true of nobody: the narrowest reason."""
        rule = self.document.rules[at]
        conditions = {condition.field: condition for condition in rule.conditions}
        for condition in rule.conditions:
            if not self.hold_together(condition):
                path = f"rules[{at}].when.{condition.field}"
                return diagnostic("contradiction", path, f"no {condition.field} is left: the rule is never true")
        for one, other in _PAIRS:
            if one in conditions and other in conditions:
                first, second = conditions[one], conditions[other]
                if not self.hold_together(first, second):
                    code, words = _WHY[one, other]
                    if first.negated or (second.negated and one != "connection"):
                        code, words = "contradiction", f"{one} and {other} exclude one another"
                    return diagnostic(code, f"rules[{at}].when.{other}", f"{words}: the rule is never true")
        message = "the conditions exclude one another: the rule is never true"
        return diagnostic("contradiction", f"rules[{at}].when", message)

    def hold_together(self, *conditions: Condition) -> bool:
        rule = Rule("", conditions, 0, None)
        return Reach(msgspec.structs.replace(self.document, rules=(rule,)), self.vocabulary).holds(0)

    def values(self, at: int, reach: Reach) -> Iterator[Diagnostic]:
        rule = self.document.rules[at]
        dead = list(reach.dead_values(at))
        for each in dead[:MOST]:
            path = f"rules[{at}].when.{each.field}[{each.at}]"
            value = next(c.values[each.at] for c in rule.conditions if c.field == each.field)
            if each.covered:
                yield diagnostic("covered-value", path, f"wherever it is {value}, an earlier rule is true")
            else:
                yield self.idle(rule, each, value, path)
        if len(dead) > MOST:
            path = f"rules[{at}].when.{dead[MOST].field}[{dead[MOST].at}]"
            yield diagnostic("covered-value", path, f"and {len(dead) - MOST:,} values of this rule in all")

    def idle(self, rule: Rule, dead: Dead, value: str | int, path: str) -> Diagnostic:
        """A value that is never true beside the rule's other conditions: the narrowest reason."""
        listed = {c.field: c.values for c in rule.conditions if not c.negated}
        country = str(value)[:2]
        continent = self.vocabulary.continent_of.get(country)
        if dead.field == "subdivision" and country not in listed.get("country", (country,)):
            return diagnostic("subdivision-outside", path, f"{value} is in {country}, which the rule does not name")
        if dead.field in ("subdivision", "country") and continent not in listed.get("continent", (continent,)):
            code = f"{dead.field}-outside"
            return diagnostic(code, path, f"{value} is in {continent}, which the rule does not name")
        if dead.field == "connection":
            return diagnostic("hidden-place", path, f"{value} hides the place that the rule asks for")
        if dead.field == "network":
            return diagnostic("idle-value", path, f"no join comes from {value}: the address inside is taken out")
        return diagnostic("idle-value", path, f"{value} is never true beside the rule's other conditions")

    # -- conditions --------------------------------------------------------------------------------------------

    def repeated(self, at: int, condition: Condition) -> Iterator[Diagnostic]:
        path = f"rules[{at}].when.{condition.field}" + (".not" if condition.negated else "")
        values = condition.values
        if condition.field == "network":
            inside = cidrs.repeated([cidrs.block_of(str(value)) for value in values])
        else:
            first: dict[str | int, int] = {}
            inside = {i: first[value] for i, value in enumerate(values) if first.setdefault(value, i) != i}
        for number, (index, by) in enumerate(sorted(inside.items())):
            if number == MOST:
                message = f"and {len(inside) - MOST:,} values of this list in all"
                yield diagnostic("repeated-value", f"{path}[{index}]", message)
                return
            message = f"{values[index]} is named twice" if values[index] == values[by] else f"it lies in {values[by]}"
            yield diagnostic("repeated-value", f"{path}[{index}]", message, related=[f"{path}[{by}]"])

    def unavailable(self) -> Iterator[Diagnostic]:
        """Conditions that the geo files in use leave open where other files would settle them; one for all alike."""
        found: dict[tuple[str, str], list[str]] = {}
        for i, rule in enumerate(self.document.rules):
            for condition in rule.conditions:
                if condition.field in _GIVES and not self.given.facts & _SETTLED_BY.get(condition.field, frozenset()):
                    missing = self.truths(condition, _ALL_GIVEN) - self.truths(condition, self.given)
                    if missing:
                        never = "always open" if len(missing) == 2 else f"never {str(missing.pop()).lower()}"
                        found.setdefault((condition.field, never), []).append(f"rules[{i}].when.{condition.field}")
        for (field, never), paths in found.items():
            message = f"no geo file in use gives {_GIVES[field]}: the condition is {never}"
            if len(paths) > 1:
                message += f", as in {len(paths) - 1:,} more"
            yield diagnostic("fact-unavailable", paths[0], message, related=paths[1:4])

    def truths(self, condition: Condition, given: Given) -> set[bool | None]:
        if condition.field == "connection":
            known = [Facts(connection=bits) for bits in given.connections]
        elif condition.field == "asn":
            numbers = [int(value) for value in condition.values]
            known = [Facts(asn=asn) for asn in (numbers[0], max(numbers) + 1)] if given is _ALL_GIVEN else []
        else:
            rule = Rule("", (condition,), 0, None)
            located = places(msgspec.structs.replace(self.document, rules=(rule,)), self.vocabulary)
            known = [at for at in located if _can_be_known(at, given.facts)]
        return {condition.test(PEOPLE[0], at) for at in (NOTHING_KNOWN, *known)}

    def capped(self) -> Iterator[Diagnostic]:
        """Charter C4: without anonymity data a service document removes nobody."""
        if self.document.scope != "service" or any(not bits & ANONYMISED for bits in self.given.connections):
            return
        for i, rule in enumerate(self.document.rules):
            if rule.then == charter.REMOVE:
                message = "no geo file in use lists anonymised connections: this rule alerts at most"
                yield diagnostic("C4-capped", f"rules[{i}].then", message)

    def named(self, rules: Sequence[int]) -> str:
        """Rules by their ids, a few of them."""
        words = [f"{self.document.rules[i].id!r}" for i in rules[:3]]
        more = f" and {len(rules) - 3} more" if len(rules) > 3 else ""
        return f"rule{'s' if len(rules) > 1 else ''} {', '.join(words)}{more}"


_ALL_GIVEN: Final = Given(now=0)
_GIVES: Final = {
    "country": "countries",
    "subdivision": "subdivisions",
    "continent": "continents",
    "asn": "autonomous system numbers",
    "connection": "such connections",
}
_SETTLED_BY: Final = {
    "country": frozenset({"country", "subdivision"}),
    "subdivision": frozenset({"subdivision"}),
    "continent": frozenset({"country", "subdivision", "continent"}),
    "asn": frozenset({"asn"}),
}
"""Facts of which each settles a field's conditions."""
_WHY: Final = {
    ("country", "subdivision"): ("subdivision-outside", "no subdivision named is in a country named"),
    ("continent", "subdivision"): ("subdivision-outside", "no subdivision named is on a continent named"),
    ("continent", "country"): ("country-outside", "no country named is on a continent named"),
    **{("connection", place): ("hidden-place", f"such a connection hides the {place}") for place in TERRITORIES},
}
_PAIRS: Final = tuple(_WHY)


def _can_be_known(at: Facts, given: frozenset[str]) -> bool:
    """Whether geo files that give some facts can lead to knowing a place so well."""
    if at.subdivision is not None:
        return "subdivision" in given
    if at.country is not None:
        return bool(given & {"country", "subdivision"})
    return "continent" in given


def _ids(rules: Iterable[int]) -> list[str]:
    return [f"rules[{i}].id" for i in list(rules)[:3]]
