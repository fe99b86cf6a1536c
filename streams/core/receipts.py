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

from functools import lru_cache
from typing import Final

from streams.core.characters import in_quotation_marks
from streams.core.events import Copies, OutcomeName, Receipt
from streams.core.index import Revision
from streams.core.messages import Language, render
from streams.core.policy import Class, Rule

_ID: Final = "\0"
"""Stands for a decision's id in a draft. It is no printable character, so nothing else in a text can hold it."""


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
    person, host, copies, parameters = _drafted(
        document.path,
        document.revision,
        document.class_,
        document.ground,
        document.reference,
        revision.holder,
        revision.on_behalf,
        contest,
        None if rule is None else (rule.id, rule.note),
        outcome,
        "refused" if stage == "lobby" else "removed",
        language,
    )
    parameters = parameters.copy()
    parameters["decision"] = id_
    return Receipt(
        id=id_,
        person=id_.join(person),
        host=id_.join(host),
        status=451 if document.class_ == "legal" else 403,
        contest=contest,
        reference=document.reference,
        document=revision.sha256,
        written_in=language,
        messages=copies,
        parameters=parameters,
    )


@lru_cache(maxsize=8192)  # all who are removed by one rule are told the same but for the decision's id
def _drafted(
    path: str,
    number: int,
    class_: Class,
    ground: str | None,
    reference: str | None,
    holder: str | None,
    on_behalf: bool,
    contest: str | None,
    rule: tuple[str, str | None] | None,
    outcome: OutcomeName,
    done: str,
    language: Language,
) -> tuple[list[str], list[str], Copies, dict[str, str]]:
    """Both texts, each in the pieces that a decision's id comes between, their messages, and the parameters."""
    parameters = {"decision": _ID, "policy": path, "revision": str(number)}
    about = [f"policy.{class_}"]
    if holder is None:
        about.append("signed.none")
    else:
        about.append("signed.on-behalf" if on_behalf else "signed.holder")
        parameters["holder"] = in_quotation_marks(holder)
    if ground:
        parameters["ground"] = in_quotation_marks(ground)
        about.append("ground")
    if reference:
        parameters["reference"] = in_quotation_marks(reference)
        about.append("reference")
    if contest:
        parameters["contest"] = in_quotation_marks(contest)
    about.append("contest" if contest else "contest.none")
    why: tuple[str, ...] = (f"by.{outcome}",)
    if rule is not None:
        id_, note = rule
        parameters["rule"] = in_quotation_marks(id_)
        if note:
            parameters["note"] = in_quotation_marks(note)
            why = (*why, "note")
    copies = Copies((f"person.{done}", *why, *about), (f"host.{done}", *about))
    texts = [render(language, messages, parameters).split(_ID) for messages in (copies.person, copies.host)]
    return texts[0], texts[1], copies, parameters
