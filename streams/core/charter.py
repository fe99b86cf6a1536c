"""The charter (design §2) as code: one function a clause, and nothing that is not a clause.

A tool that removes people by place can be turned on people. What stands here is why this one cannot say it: the
functions are called where documents are read (``violations``), where signatures are checked (``c1_owners_only``,
``c5_two_approvers``, ``c5_notice``) and where a document's verdict is taken (``capped``). None of them asks the clock
or the log itself; time and signers come in.

Clauses kept elsewhere, because they are shapes rather than checks: C3 (``policy.VERDICTS`` has three words), C6
(``receipts``), C7 (``Facts.address`` is the only address past decoding), C9 (no event has a field for a person).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from streams.core import instants
from streams.core.characters import likeness
from streams.core.facts import ANONYMISED, CONTINENTS, DOUBTS, UNVOUCHED, Facts

if TYPE_CHECKING:  # policy calls the charter; only the types point back
    from streams.core.policy import Document, Rule

ADMIT: Final = 0
ALERT: Final = 1
REMOVE: Final = 2

TERRITORIES: Final = ("country", "subdivision", "continent")
SERVICE_FIELDS: Final = frozenset({*TERRITORIES, "connection"})
SHORTEST_WINDOW: Final = 7 * instants.DAY
LONGEST_WINDOW: Final = 366 * instants.DAY
NOTICE: Final = instants.DAY
"""How long a removing service document stands in public before its window opens, milliseconds."""

Violation = tuple[str, str, str]
"""A code that starts with the clause, a path into the document, and what is wrong."""


class Signer(msgspec.Struct, frozen=True, order=True):
    """A key of the trust set that signed a document.

    Attributes:
        holder: who holds the key.
        scopes: what it is trusted for: ``service``, ``account/acme`` or ``account/*``.
        on_behalf: whether it signs for owners who have no key of their own (ruling 30).
    """

    holder: str
    scopes: tuple[str, ...]
    on_behalf: bool = False


# -- what a document's own text may say ------------------------------------------------------------------------


def violations(document: Document) -> list[Violation]:
    """What the charter finds wrong with a document whose shape is right. A retraction restricts nobody."""
    if document.scope != "service" or document.retracted:
        return []
    return c2_general(document) + c4_names_its_territory(document) + c5_window(document)


def c2_general(document: Document) -> list[Violation]:
    """C2: a service document speaks of territories and connection classes, and lets everyone else in."""
    found = []
    for i, rule in enumerate(document.rules):
        for condition in rule.conditions:
            if condition.field not in SERVICE_FIELDS:
                path = f"rules[{i}].when.{condition.field}"
                found.append(("C2-general", path, f"a service document cannot ask for {condition.field}"))
    for key, verdict in (("default", document.default), ("unknown", document.unknown)):
        if verdict != ADMIT:
            found.append(("C2-general", key, "must be admit in a service document"))
    return found


def c4_names_its_territory(document: Document) -> list[Violation]:
    """C4: a service rule that removes names at least one territory, positively."""
    return [
        (
            "C4-territory",
            f"rules[{i}].when",
            "a service rule that removes must name a country, subdivision or continent",
        )
        for i, rule in enumerate(document.rules)
        if rule.then == REMOVE and not any(condition.names_territory for condition in rule.conditions)
    ]


def c5_window(document: Document) -> list[Violation]:
    """C5: a service document ends, and is never aimed at one evening: 7 to 366 days."""
    if document.not_before is None or document.not_after is None:
        return []  # required by the schema; noted there
    length = document.not_after - document.not_before
    if SHORTEST_WINDOW <= length <= LONGEST_WINDOW:
        return []
    return [("C5-window", "not_after", "a service document's window is at least 7 and at most 366 days")]


# -- who signed, and when it was published ---------------------------------------------------------------------


def c1_owners_only(document: Document, signers: Sequence[Signer], exact_accounts: frozenset[str]) -> list[Violation]:
    """C1: an owner's document counts only when signed by a key trusted for that account.

    Args:
        document: an account or meeting document.
        signers: the trusted keys whose signatures verified.
        exact_accounts: accounts that have a key of their own in the trust set; for these an ``on_behalf`` key
            counts for nothing (ruling 30).
    """
    account = document.account or ""
    if any(_trusted_for(signer, account, exact_accounts) for signer in signers):
        return []
    return [("C1-owner", "", f"not signed by a key trusted for account {account!r}")]


def trusted_owner(document: Document, signers: Sequence[Signer], exact_accounts: frozenset[str]) -> Signer | None:
    """The signer an owner's document counts as signed by: the owner's own key before one on the owner's behalf."""
    trusted = [s for s in signers if _trusted_for(s, document.account or "", exact_accounts)]
    return min(trusted, key=lambda s: (s.on_behalf, s.holder), default=None)


def _trusted_for(signer: Signer, account: str, exact_accounts: frozenset[str]) -> bool:
    if signer.on_behalf and account in exact_accounts:
        return False
    return f"account/{account}" in signer.scopes or "account/*" in signer.scopes


def c1_exact_stays_exact(document: Document, on_behalf: bool, last_on_behalf: bool | None) -> list[Violation]:
    """C1, ruling 30: an ``on_behalf`` key never supersedes or retracts a path last signed by the owner's own key."""
    if on_behalf and last_on_behalf is False:
        return [("C1-on-behalf", "", f"{document.path} was last signed by the account's own key")]
    return []


def c5_two_approvers(document: Document, signers: Sequence[Signer], *, one_suffices: bool) -> list[Violation]:
    """C5: two holders approve a service document; one may withdraw it or take from it (ruling 31).

    Holders whose names people cannot tell apart are one.

    Args:
        document: a service document.
        signers: the trusted keys whose signatures verified.
        one_suffices: the document is a retraction, or a revision that only takes away, and one of the signers
            approved the present one.
    """
    holders = {likeness(signer.holder) for signer in signers if "service" in signer.scopes and not signer.on_behalf}
    wanted = 1 if one_suffices else 2
    if len(holders) >= wanted:
        return []
    return [("C5-approvers", "", f"signed by {len(holders)} approver(s) with service scope; {wanted} distinct wanted")]


def c5_notice(document: Document, appended_at: int) -> list[Violation]:
    """C5: where a rule removes, the window opens at least 24 h after publication (the log's append time, ms)."""
    removes = any(rule.then == REMOVE for rule in document.rules)
    if document.retracted or not removes or document.not_before is None:
        return []
    if document.not_before >= appended_at + NOTICE:
        return []
    earliest = instants.render(appended_at + NOTICE)
    return [("C5-notice", "not_before", f"a rule removes, so the window opens 24 h after publication: {earliest}")]


def takes_away_only(new: Document, present: Document) -> bool:
    """Whether a revision only takes territories away or shortens the window (ruling 31).

    Read strictly: the same words, and the same rules in the same order, each either gone or with fewer territories
    named positively. A rule that admits or alerts may not go, nor lose a value: that could make another one remove
    more. Nor may one that shields those behind it.
    """
    if present.retracted or new.retracted:
        return False  # a retraction's text was never checked: there is nothing to take from
    if new.not_before is None or new.not_after is None or present.not_before is None or present.not_after is None:
        return False
    if new.not_before < present.not_before or new.not_after > present.not_after:
        return False
    if any(getattr(new, field) != getattr(present, field) for field in _SAID):
        return False
    kept = {rule.id: rule for rule in new.rules}
    if [rule.id for rule in new.rules] != [rule.id for rule in present.rules if rule.id in kept]:
        return False
    removing_behind = False
    for rule in reversed(present.rules):
        left = kept.get(rule.id)
        if not _narrower(left, rule):
            return False
        if removing_behind and _shields(rule) and (left is None or _values(left) != _values(rule)):
            return False
        removing_behind = removing_behind or (left is not None and left.then == REMOVE)
    return True


_SAID: Final = ("class_", "default", "unknown", "mode", "ground", "reference", "contest", "note")
"""What a revision that takes away leaves as it is, besides its rules."""


def _narrower(new: Rule | None, present: Rule) -> bool:
    if new is None:
        return present.then == REMOVE
    if (new.then, new.note) != (present.then, present.note):
        return False
    now, was = _values(new), _values(present)
    if now.keys() != was.keys():
        return False
    return all(
        now[key] == was[key]
        or (present.then == REMOVE and key[0] in TERRITORIES and not key[1] and now[key] < was[key])
        for key in was
    )


def _values(rule: Rule) -> dict[tuple[str, bool], set[str | int]]:
    return {(condition.field, condition.negated): set(condition.values) for condition in rule.conditions}


def _shields(rule: Rule) -> bool:
    """Whether a rule can be true of a join whose place it does not know, and so be capped and end the search.

    That takes a list with all of something: all countries of a continent, or all subdivisions of a country.
    """
    for condition in rule.conditions:
        if not condition.names_territory:
            continue
        places = [Facts(), *(Facts(continent=continent) for continent in CONTINENTS)]
        if condition.field == "subdivision":
            places += [Facts(country=str(code)[:2]) for code in condition.values]
        if any(getattr(at, condition.field) is None and condition.test(_NOBODY, at) for at in places):
            return True
    return False


class _Nobody(msgspec.Struct, frozen=True):
    role: str = ""
    stage: str = ""


_NOBODY: Final = _Nobody()
"""A territory's test looks at no subject."""


# -- what a verdict may do ---------------------------------------------------------------------------------------


def capped(document: Document, rule: Rule | None, verdict: int, facts: Facts, *, role: str, on_behalf: bool) -> int:
    """A document's verdict after the charter's caps; rule and outcome stay as they were."""
    if verdict != REMOVE:
        return verdict
    if document.scope == "service" and not c4_located(rule, facts):
        return ALERT
    if on_behalf and role in ("host", "cohost"):  # ruling 30: nobody is thrown out of their own meeting on their behalf
        return ALERT
    return verdict


def c4_located(rule: Rule | None, facts: Facts) -> bool:
    """C4, rulings 13 and 33: the rule's territory is known and beyond doubt, and tor, vpn and proxy are excluded.

    Where a rule names two positive territories, one known suffices, but none of the known may be in doubt: a geo file
    could else single out one line by the other. Without anonymity data nothing is excluded, so service rules alert at
    most; and so they do with data that nobody vouches for.
    """
    if rule is None or facts.connection & ANONYMISED or facts.doubts & UNVOUCHED:
        return False
    named = [condition.field for condition in rule.conditions if condition.names_territory]
    known = [field for field in named if getattr(facts, field) is not None]
    return bool(known) and not any(facts.doubts & DOUBTS[field] for field in known)
