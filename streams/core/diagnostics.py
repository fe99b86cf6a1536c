"""Everything lint can say, in one place: a code, how bad it is, why it is wrong, what to do, and an example.

``doorward policy lint --explain CODE`` prints an entry; a fix that fits the case (``streams.core.fixes``) goes before
the one here. Codes are for searching and for switching off: once published they keep their meaning.
"""

from typing import Final, Literal, NamedTuple, TypeAlias

Severity: TypeAlias = Literal["error", "warning", "note"]


class Entry(NamedTuple):
    """One code.

    Attributes:
        severity: an error is refused by the engine, or cannot be meant; a warning can; a note says what was not done.
        text: a paragraph: what is wrong and why it matters.
        fix: what to do about it.
        example: a piece of a document that has it.
    """

    severity: Severity
    text: str
    fix: str
    example: str


READING: Final[dict[str, Entry]] = {
    "unreadable": Entry(
        "error",
        "The file is there but cannot be read: no right to, a broken disk, or no regular file.",
        "make it a readable regular file, or leave it out",
        "(a folder, a pipe, or a file of another user's)",
    ),
    "too-large": Entry(
        "error",
        "Files have at most 16 MiB, a document 4 MiB of text and 120,000 YAML nodes, a signed document 4 MiB "
        "(DOORWARD_MAX_DOCUMENT_BYTES). What is larger is refused before it is read, so that nobody can keep a worker "
        "busy with it.",
        "split the file, or write fewer and wider networks",
        "(a million copies of 0.0.0.0/0)",
    ),
    "encoding": Entry(
        "error",
        "Policy files are UTF-8, with or without a byte order mark.",
        "save the file as UTF-8",
        '{"note": "caf\\xe9"}',
    ),
    "no-document": Entry(
        "error",
        "The file is empty, or holds comments only. An empty file is more often an accident than meant.",
        "write a document, or remove the file",
        "# nothing here",
    ),
    "syntax": Entry(
        "error",
        "The file is not YAML 1.2, or, where its name ends in .json, not JSON.",
        "correct the text at the place shown",
        "rules: [",
    ),
    "too-deep": Entry(
        "error",
        "A document needs six containers in one another; more than 64 are refused.",
        "take out the nesting",
        "[[[[[[ … ]]]]]]",
    ),
    "duplicate-key": Entry(
        "error",
        "A key stands twice in one object. Readers differ on which of the two counts, so neither does here.",
        "keep one of them",
        "default: admit\ndefault: remove",
    ),
    "merge-key": Entry(
        "error",
        "Merge keys (<<) are no part of YAML 1.2.",
        "write the fields out, or use an anchor for a whole value",
        "<<: *base",
    ),
    "tag": Entry(
        "error",
        "Tags (!x) may mean anything to a reader, so documents have none.",
        "leave the tag out; quote what must be a string",
        "name: !str licensing",
    ),
    "key-type": Entry(
        "error",
        "A key must be a string; YAML takes 1, true and null for something else.",
        "quote it",
        "1: admit",
    ),
    "alias": Entry(
        "error",
        "An alias without an anchor before it, within itself, or one of many that expand to over 100,000 nodes.",
        "write the value out",
        "country: *licensed",
    ),
    "yaml-version": Entry(
        "error",
        "Only YAML 1.2 is read: in 1.1 the country NO is false.",
        "leave out the %YAML line",
        "%YAML 1.1",
    ),
    "number-format": Entry(
        "error",
        "A number that JSON cannot hold: infinite, not a number, or over 64 characters long.",
        "quote it if a string is meant",
        "revision: .inf",
    ),
    "surrogate": Entry(
        "error",
        "Half of a character that UTF-16 writes as two.",
        "write the character itself",
        'name: "\\ud800"',
    ),
}
"""What keeps a file or a document from being read."""

SIGNED: Final[dict[str, Entry]] = {
    "not-jws": Entry(
        "error",
        "A file called *.jws.json holds one signed document: a JWS in general JSON serialization (RFC 7515).",
        "sign the document again: doorward policy sign",
        '{"payload": "e30", "signature": "…"}',
    ),
    "header": Entry(
        "error",
        "A signature has a header that is not signed, or one beyond the profile.",
        "sign the document again: doorward policy sign",
        '{"protected": "…", "signature": "…", "header": {"kid": "k-1"}}',
    ),
    "signature": Entry(
        "error",
        "A signature is not written as base64url without padding. Lint verifies no signatures; push does.",
        "sign the document again: doorward policy sign",
        '{"protected": "…", "signature": "a+b="}',
    ),
}
"""What keeps a signed document from being opened. Its payload is then linted like any other."""

LANGUAGE: Final[dict[str, Entry]] = {
    "type": Entry(
        "error",
        "A value has another type than its field.",
        "write a value of the type that is named",
        "rules: admit",
    ),
    "language": Entry(
        "error",
        "The document says that it is written in a language this engine does not know. It is refused, not guessed.",
        "write language: 1, or leave it out",
        "language: 2",
    ),
    "unknown-key": Entry(
        "error",
        "A field that there is not, or not in this scope. A misspelt field that were ignored would be a hole.",
        "correct the name, or take the field out",
        "defualt: remove",
    ),
    "null": Entry(
        "error",
        "Only not_before, not_after, contest, note and reference may be null.",
        "leave the field out",
        "mode: null",
    ),
    "required": Entry(
        "error",
        "Every document has scope, its ids, name, revision and default; a rule has id and then; a service document "
        "also class, ground, reference, not_before and not_after. A text that is there has something to be seen in it.",
        "add the field, or leave an empty text out where none is required",
        "scope: account\nname: licensing",
    ),
    "name": Entry(
        "error",
        "Names and ids are strings of 1 to 128 characters.",
        "write a string of 1 to 128 characters",
        "name: 12",
    ),
    "too-long": Entry(
        "error",
        "Notes, grounds and references are repeated in receipts, so they have at most 2,000 characters.",
        "shorten it, or link to the long text",
        "note: (three pages)",
    ),
    "too-many": Entry(
        "error",
        "A document has at most 10,000 rules, and a list in a condition at most 200,000 values (DOORWARD_MAX_RULES, "
        "DOORWARD_MAX_VALUES); of more than 1,000 problems the rest is not told.",
        "join rules that say the same; write fewer and wider networks",
        "(a million rules)",
    ),
    "time": Entry(
        "error",
        "Times are RFC 3339 with an offset; without one nobody knows which instant is meant.",
        "write it with an offset, such as 2027-01-15T00:00:00Z",
        "not_before: 2027-01-15",
    ),
    "number": Entry(
        "error",
        "A whole number is wanted, within the bounds that are named.",
        "write a whole number, without quotes",
        'revision: "3"',
    ),
    "choice": Entry(
        "error",
        "The field takes one of a few words.",
        "write one of the words that are named",
        "default: deny",
    ),
    "window": Entry(
        "error",
        "The window closes before it opens, so the document would never be in force.",
        "set not_after later than not_before",
        "not_before: 2027-02-01T00:00:00Z\nnot_after: 2027-01-01T00:00:00Z",
    ),
    "duplicate-id": Entry(
        "error",
        "Decisions and receipts name a rule by its id, so no two rules of a document share one.",
        "give one of the two another id",
        "- {id: staff, then: admit}\n- {id: staff, then: remove}",
    ),
    "empty-when": Entry(
        "error",
        "An empty `when` could mean all joins or none.",
        "leave `when` out to match every join, or name a condition",
        "when: {}",
    ),
    "condition": Entry(
        "error",
        "A condition is a list (any of these) or {not: [...]} (none of these).",
        "write a list",
        "when: {country: FR}",
    ),
    "empty-list": Entry(
        "error",
        "An empty list would match nobody, which is seldom meant.",
        "name a value, or take the condition out",
        "when: {country: []}",
    ),
    "unknown-code": Entry(
        "error",
        "A code that no fact can have. Countries are ISO 3166-1 alpha-2 (and XK), subdivisions ISO 3166-2.",
        "correct the code",
        "when: {country: [UK]}",
    ),
    "network": Entry(
        "error",
        "Networks are CIDR blocks with a prefix length and no host bits set: 192.0.2.9/24 could mean one address or "
        "256 of them.",
        "write a CIDR block such as 192.0.2.0/24",
        "when: {network: [192.0.2.9/24]}",
    ),
}
"""What a document may not say (streams.core.policy)."""

CHARTER: Final[dict[str, Entry]] = {
    "C2-general": Entry(
        "error",
        "A service document is for everybody: it cannot ask for a role, a stage, a network or a number, and its "
        "default and unknown are admit.",
        "take the condition out, or make it an account document",
        "scope: service\nrules: [{id: r, when: {role: [guest]}, then: alert}]",
    ),
    "C4-territory": Entry(
        "error",
        "A service rule that removes names the territory it is about, positively.",
        "name a country, subdivision or continent",
        "scope: service\nrules: [{id: r, when: {connection: [tor]}, then: remove}]",
    ),
    "C4-capped": Entry(
        "warning",
        "Service rules remove only joins whose connection is known not to be anonymised. The geo files in use list no "
        "anonymised connections, so these rules alert at most.",
        "add an anonymity database (--geo), or write then: alert",
        "scope: service\nrules: [{id: r, when: {country: [BV]}, then: remove}]",
    ),
    "C5-window": Entry(
        "error",
        "A service document ends: its window has at least 7 and at most 366 days.",
        "set not_after 7 to 366 days after not_before",
        "not_before: 2027-01-15T00:00:00Z\nnot_after: 2027-01-16T00:00:00Z",
    ),
    "C5-notice": Entry(
        "warning",
        "Where a service rule removes, the window opens at least 24 hours after publication. Pushed now, this document "
        "would be refused.",
        "set not_before more than 24 hours after the push",
        "scope: service\nnot_before: (in an hour)",
    ),
    "contest": Entry(
        "warning",
        "The document can remove people, and neither it nor the deployment (DOORWARD_CONTEST) says how to contest. "
        "Their receipts will not either. For a service document this is an error: workers refuse it.",
        "add contest: https://… or set DOORWARD_CONTEST",
        "scope: account\ndefault: remove",
    ),
}
"""What the charter asks of a document's text."""

ANALYSIS: Final[dict[str, Entry]] = {
    "contradiction": Entry(
        "error",
        "The rule's conditions exclude one another: it is true of no join at all. While facts are not known it may "
        "still be open, and then its verdict counts among the possible ones.",
        "take one of the conditions out",
        "when: {subdivision: [US-CA], country: {not: [US]}}",
    ),
    "subdivision-outside": Entry(
        "error",
        "A subdivision lies in another country or continent than its rule names beside it. By the table of continents: "
        "a geo file with continents of its own may say otherwise of a few countries.",
        "take the subdivision out, or name its country",
        "when: {country: [CA], subdivision: [US-CA]}",
    ),
    "country-outside": Entry(
        "error",
        "A country lies on another continent than its rule names beside it. By the table of continents: a geo file "
        "with continents of its own may say otherwise of a few countries.",
        "take the country out, or name its continent",
        "when: {continent: [EU], country: [JP]}",
    ),
    "hidden-place": Entry(
        "error",
        "An anonymised connection (tor, vpn, proxy) has no known place: an exit's place is not the person's. A relay "
        "has a country but no subdivision. So a rule that asks for both is never true.",
        "ask for the connection alone, or for the place alone",
        "when: {connection: [tor], country: [FR]}",
    ),
    "unreachable": Entry(
        "error",
        "Whoever joins, and whatever is known of them, a rule before this one is true and ends the search. This rule "
        "is never even looked at.",
        "move it up, or take it out",
        "- {id: all, then: admit}\n- {id: tor, when: {connection: [tor]}, then: remove}",
    ),
    "shadowed": Entry(
        "error",
        "Wherever this rule is true, a rule before it is true and decides. It never matches; only while facts are not "
        "known does its verdict count among the possible ones.",
        "move it up, narrow the rules before it, or take it out",
        "- {id: eu, when: {continent: [EU]}, then: admit}\n- {id: fr, when: {country: [FR]}, then: remove}",
    ),
    "covered-value": Entry(
        "warning",
        "Of the values in a list this one never decides: wherever it is the fact, a rule before this one is true.",
        "take it out, or move the rule up",
        "- {id: a, when: {country: [FR]}, then: admit}\n- {id: b, when: {country: [FR, DE]}, then: remove}",
    ),
    "idle-value": Entry(
        "warning",
        "Of the values in a list this one is never true together with the rule's other conditions, or no join comes "
        "from there: IPv6 that carries IPv4 (::ffff:0:0/96, 64:ff9b::/96, 2002::/16) is unwrapped first.",
        "take it out",
        "when: {network: [2002::/16]}",
    ),
    "repeated-value": Entry(
        "warning",
        "A list names a value twice, or a network that lies in another one of the list.",
        "take it out",
        "when: {network: [192.0.2.0/24, 192.0.2.128/25]}",
    ),
    "unreachable-default": Entry(
        "warning",
        "Some rule is true of everyone, so `default` is never asked, and it says something else than that rule.",
        "give the rule a condition, or let default say the same",
        "rules: [{id: all, then: admit}]\ndefault: remove",
    ),
    "pointless-rules": Entry(
        "warning",
        "Every rule says what the default says, so the verdict is the same for everyone.",
        "change the default, or take the rules out",
        "rules: [{id: fr, when: {country: [FR]}, then: admit}]\ndefault: admit",
    ),
    "unused-unknown": Entry(
        "warning",
        "`unknown` is never used: whatever is not known, all possible verdicts are the same.",
        "take it out",
        "rules: [{id: hosts, when: {role: [host]}, then: admit}]\ndefault: alert\nunknown: remove",
    ),
    "removes-everyone": Entry(
        "error",
        "Everyone is removed, hosts included, wherever they join from. No verdict ends a meeting (charter C3); this "
        "would.",
        "let somebody in: a rule for role [host, cohost], or a default other than remove",
        "scope: account\ndefault: remove",
    ),
    "removes-hosts": Entry(
        "warning",
        "Every host of the meetings is removed, wherever they join from, while others can come in.",
        "add a rule {role: [host, cohost]} with then: admit before the others",
        "rules: [{id: guests, when: {role: [guest]}, then: admit}]\ndefault: remove",
    ),
    "expired": Entry(
        "warning",
        "The window has closed: the document has no say, and does not bring an older revision back.",
        "set a later not_after, or retract the document",
        "not_after: 2020-01-01T00:00:00Z",
    ),
    "fact-unavailable": Entry(
        "warning",
        "The rule asks for a fact that no geo file in use gives: the condition stays open where it might be settled. "
        "Lint looks at the files of --geo or DOORWARD_GEO; without them at the shipped snapshot of countries.",
        "add a geo file that gives the fact (--geo), or ask for another one",
        "when: {subdivision: [US-CA]}",
    ),
    "not-analysed": Entry(
        "note",
        "Which rules can decide is a question of cover, exponential in the worst case. This document's budget of steps "
        "is spent, so nothing was said about rules and values that can never match.",
        "fewer rules, or fewer different values in them",
        "(thousands of rules, each with other networks, numbers and countries)",
    ),
}
"""What is said but cannot be meant, or hardly."""

ACROSS: Final[dict[str, Entry]] = {
    "revision-conflict": Entry(
        "error",
        "The same path and revision twice, with different content: whichever comes second is refused.",
        "raise the revision of the newer one",
        "revision: 3\n---\nrevision: 3",
    ),
    "repeat": Entry(
        "warning",
        "The same path, revision and content twice. The second is ignored.",
        "remove one of the two",
        "revision: 3\n---\nrevision: 3",
    ),
}
"""What only several documents together show."""

CODES: Final[dict[str, Entry]] = READING | SIGNED | LANGUAGE | CHARTER | ANALYSIS | ACROSS
