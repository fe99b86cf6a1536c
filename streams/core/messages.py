"""What receipts say, as data: every message in every language, and the one way of putting them into a text.

A message is a whole sentence with named parameters, so that a translation may order its words as it likes. A receipt
names its messages and gives the parameters once, so whoever shows it can put it into a language that the engine was
not set to, or does not have (``schemas/messages.json`` is this table). Parameters are values or their author's words
and are never translated. A sentence that repeats an author's words puts them in quotation marks; only how to contest
stands without, at a text's very end, where it is not taken for more than it is.

Another language is another column here: the same ids, the same parameters in each.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final, Literal, TypeAlias

Language: TypeAlias = Literal["en", "de"]
"""BCP 47 (RFC 5646)."""

CATALOGUE: Final[Mapping[Language, Mapping[str, str]]] = {
    "en": {
        "person.refused": "You were not let into this meeting.",
        "person.removed": "You were removed from this meeting.",
        "host.refused": "A participant was not let into this meeting.",
        "host.removed": "A participant was removed from this meeting.",
        "by.rule": "The rule “{rule}” decided it.",
        "by.default": "No rule of the policy lets you in.",
        "by.unknown": "Too little is known of your connection to tell which rule applies to you.",
        "note": "Its author says: “{note}”",
        "policy.owner": "The policy is {policy}, revision {revision}, class owner: "
        "a rule of the account that the meeting belongs to.",
        "policy.legal": "The policy is {policy}, revision {revision}, class legal: it is there because of a law.",
        "policy.safety": "The policy is {policy}, revision {revision}, class safety: it is there to protect people.",
        "signed.none": "It is unsigned.",
        "signed.holder": "It is signed by {holder}.",
        "signed.on-behalf": "It is signed by {holder} on the owner's behalf.",
        "ground": "Ground: “{ground}”.",
        "reference": "Reference: “{reference}”.",
        "contest": "To contest this, quote decision {decision}: {contest}",
        "contest.none": "No way to contest this was given. It is decision {decision}.",
    },
    "de": {
        "person.refused": "Sie wurden nicht in diese Besprechung eingelassen.",
        "person.removed": "Sie wurden aus dieser Besprechung entfernt.",
        "host.refused": "Eine teilnehmende Person wurde nicht in diese Besprechung eingelassen.",
        "host.removed": "Eine teilnehmende Person wurde aus dieser Besprechung entfernt.",
        "by.rule": "Entschieden hat das die Regel „{rule}“.",
        "by.default": "Keine Regel der Richtlinie lässt Sie ein.",
        "by.unknown": "Über Ihre Verbindung ist zu wenig bekannt, um zu sagen, welche Regel für Sie gilt.",
        "note": "Dazu schreibt, wer sie verfasst hat: „{note}“",
        "policy.owner": "Die Richtlinie ist {policy}, Revision {revision}, Klasse „owner“: "
        "eine Regel des Kontos, zu dem die Besprechung gehört.",
        "policy.legal": "Die Richtlinie ist {policy}, Revision {revision}, Klasse „legal“: "
        "Es gibt sie wegen eines Gesetzes.",
        "policy.safety": "Die Richtlinie ist {policy}, Revision {revision}, Klasse „safety“: "
        "Es gibt sie, um Menschen zu schützen.",
        "signed.none": "Sie ist nicht signiert.",
        "signed.holder": "Sie ist signiert von {holder}.",
        "signed.on-behalf": "Sie ist signiert von {holder}, stellvertretend für das Konto.",
        "ground": "Grundlage: „{ground}“.",
        "reference": "Fundstelle: „{reference}“.",
        "contest": "Um zu widersprechen, nennen Sie die Entscheidung {decision}: {contest}",
        "contest.none": "Wie sich widersprechen lässt, ist nicht angegeben. Es ist die Entscheidung {decision}.",
    },
}
"""Language to message id to text; ``{name}`` stands for a parameter, and there is no other markup."""


def render(language: Language, messages: tuple[str, ...], parameters: Mapping[str, str]) -> str:
    """Some messages as one text. Raises KeyError for an id or a parameter that is missing."""
    return _joined(language, messages).format_map(parameters)


@lru_cache(maxsize=1024)  # receipts come in a few dozen combinations
def _joined(language: Language, messages: tuple[str, ...]) -> str:
    return " ".join([CATALOGUE[language][message] for message in messages])
