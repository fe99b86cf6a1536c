"""C9: nothing that a decision carries could link one person across meetings."""

from __future__ import annotations

from hypothesis import given

from streams.core.decide import decision, judge, matched
from streams.core.facts import Facts
from tests.samples import NOON, PROPERTY, PROVENANCE, account, event, facts, index, join, rule


@PROPERTY
@given(facts)
def test_two_people_behind_one_rule_get_the_same_words(known: Facts) -> None:
    documents = index(account(rules=[rule("alert", {"country": ["FR"], "network": ["::/0"], "role": ["guest"]})]))
    for who in (join(), join(participation="p-2", meeting="m-2")):
        enforced, _ = judge(documents, who, known, NOON)
        made = decision(event(who), known, enforced, PROVENANCE, mode="enforce", offset=1, at=NOON)
        if made.data.reason is not None and made.data.reason.rule is not None:
            assert set(made.data.reason.matched) == {"country", "network", "role"}
            assert made.data.reason.matched["network"] is True
        assert enforced.finding is not None
        assert enforced.revision is not None
        assert "address" not in matched(enforced.finding, enforced.revision, who, known)


def test_ids_of_one_connection_in_two_meetings_have_nothing_in_common() -> None:
    made = []
    for meeting in ("m-1", "m-2"):
        who = event(join(meeting=meeting))
        enforced, _ = judge(index(), who.data, Facts(), NOON)
        made.append(decision(who, Facts(), enforced, PROVENANCE, mode="enforce", offset=1, at=NOON))
    assert made[0].id[:16] != made[1].id[:16]
