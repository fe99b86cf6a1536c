"""Receipts: what a refused person and the host are told, in plain words (charter C6).

A copy is a list of messages (``streams.core.messages``) and their parameters; the receipt carries both beside the
texts made of them. The engine asks nobody's language: its texts are in the deployment's, and whoever shows a receipt
to a person can put the same messages into theirs.

The person's copy says which rule, whose, on what ground and how to contest. The host's copy says the same of the
document and nothing of the person: it is worked out from the document, the stage and the decision's id, so it is the
same wherever the person was. That leaves out the rule's id and its note, which their author may name after a place,
and whether a rule, the default or missing knowledge decided. What the document says of itself it does tell, its path,
ground and reference, since a host who cannot be told the ground cannot contest it.

An id, a note and whatever else somebody wrote may hold any characters. As parameters they are made fit to stand
between quotation marks, so that none of them can pass for a sentence of the engine's, in whatever language it is put.
"""

from streams.core.characters import in_quotation_marks
from streams.core.events import Copies, OutcomeName, Receipt
from streams.core.index import Revision
from streams.core.messages import Language, render
from streams.core.policy import Rule


def receipt(
    id_: str,
    revision: Revision,
    rule: Rule | None,
    outcome: OutcomeName,
    stage: str | None,
    contest: str | None,
    language: Language = "en",
) -> Receipt:
    """The receipt of a removal.

    Args:
        id_: the decision's id.
        revision: the deciding document.
        rule: the deciding rule; None when its ``default`` or ``unknown`` decided.
        outcome: which of the three it was.
        stage: ``lobby`` or ``live``.
        contest: the deployment's contest address, used where the document gives none (ruling 39).
        language: of the texts.
    """
    document = revision.document
    contest = document.contest if document.contest is not None else contest
    parameters = {"decision": id_, "policy": document.path, "revision": str(document.revision)}
    about = _about(revision, contest, parameters)
    why: tuple[str, ...] = (f"by.{outcome}",)
    if rule is not None:
        parameters["rule"] = in_quotation_marks(rule.id)
        if rule.note:
            parameters["note"] = in_quotation_marks(rule.note)
            why = (*why, "note")
    done = "refused" if stage == "lobby" else "removed"
    copies = Copies((f"person.{done}", *why, *about), (f"host.{done}", *about))
    return Receipt(
        id=id_,
        person=render(language, copies.person, parameters),
        host=render(language, copies.host, parameters),
        status=451 if document.class_ == "legal" else 403,
        contest=contest,
        reference=document.reference,
        document=revision.sha256,
        written_in=language,
        messages=copies,
        parameters=parameters,
    )


def _about(revision: Revision, contest: str | None, parameters: dict[str, str]) -> list[str]:
    """What both copies say of the document and of contesting it; adds what that needs to ``parameters``."""
    document = revision.document
    messages = [f"policy.{document.class_}"]
    if revision.holder is None:
        messages.append("signed.none")
    else:
        messages.append("signed.on-behalf" if revision.on_behalf else "signed.holder")
        parameters["holder"] = in_quotation_marks(revision.holder)
    if document.ground:
        parameters["ground"] = in_quotation_marks(document.ground)
        messages.append("ground")
    if document.reference:
        parameters["reference"] = in_quotation_marks(document.reference)
        messages.append("reference")
    if contest:
        parameters["contest"] = in_quotation_marks(contest)
    messages.append("contest" if contest else "contest.none")
    return messages
