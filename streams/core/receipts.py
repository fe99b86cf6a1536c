"""Receipts: what a refused person and the host are told, in plain words (charter C6).

The person's copy says which rule, whose, on what ground and how to contest. The host's copy says the same of the
document but nothing of the person: neither the rule's id nor its note, since either may name a place.
"""

from streams.core.events import Receipt
from streams.core.index import Revision
from streams.core.policy import Rule


def receipt(id_: str, revision: Revision, rule: Rule | None, stage: str | None, contest: str | None) -> Receipt:
    """The receipt of a removal.

    Args:
        id_: the decision's id.
        revision: the deciding document.
        rule: the deciding rule; None when its ``default`` or ``unknown`` decided.
        stage: ``lobby`` or ``live``.
        contest: the deployment's contest address, used where the document gives none (ruling 39).
    """
    document = revision.document
    contest = document.contest if document.contest is not None else contest
    whose = _whose(revision)
    basis = f"Policy {document.path}, revision {document.revision}, class {document.class_}, {whose}."
    ground = f" Ground: {document.ground}." if document.ground else ""
    reference = f" Reference: {document.reference}." if document.reference else ""
    how = f" To contest: {contest}." if contest else " No way to contest was given."
    done = "You were not let into this meeting" if stage == "lobby" else "You were removed from this meeting"
    by = f"by the rule “{rule.id}”" if rule else "because no rule lets you in"
    note = f" {rule.note}" if rule and rule.note else ""
    host = "A participant was not let in" if stage == "lobby" else "A participant was removed"
    quoted = f" Quote decision {id_}."
    return Receipt(
        id=id_,
        person=f"{done} {by}.{note} {basis}{ground}{reference}{how}{quoted}",
        host=f"{host}. {basis}{ground}{reference}{how}{quoted}",
        status=451 if document.class_ == "legal" else 403,
        contest=contest,
        reference=document.reference,
        document=revision.sha256,
    )


def _whose(revision: Revision) -> str:
    if revision.holder is None:
        return "unsigned"
    if revision.on_behalf:
        return f"signed by {revision.holder} on the owner's behalf"
    return f"signed by {revision.holder}"
