"""An explanation says what the decision did, for whatever documents and facts."""

from hypothesis import given
from hypothesis import strategies as st

from streams.core.decide import decision, judge
from streams.core.explain import again, explain
from streams.core.facts import ANONYMISED, ANY_CONNECTION, OTHER, RELAY, Facts
from streams.core.policy import VERDICTS
from tests.samples import (
    NOON,
    PROPERTY,
    PROVENANCE,
    account,
    event,
    facts,
    index,
    join,
    located,
    meeting,
    revision,
    rule,
    service,
)

FRANCE = Facts(address=b"\x05\x27\x00\x01", country="FR", continent="EU", connection=OTHER)


def steps(*documents, data=None, known=FRANCE, rosters=False):
    return explain(index(*documents), data or join(), known, NOON, rosters=rosters)


def test_each_rule_tried_is_there_with_the_facts_it_met() -> None:
    document = account(
        rules=[
            rule("admit", {"role": ["host"]}, "hosts"),
            rule("alert", {"asn": [64500], "country": ["FR"]}, "lines"),
            rule("remove", {"country": ["FR"]}, "here"),
            rule("admit", id_="never reached"),
        ]
    )
    explained = steps(document)
    [step] = explained.documents
    assert [(tried.id, tried.state) for tried in step.rules] == [
        ("hosts", "false"),
        ("lines", "open"),
        ("here", "true"),
    ]
    assert [(c.field, c.state, c.met) for c in step.rules[1].conditions] == [
        ("asn", "open", "not known"),
        ("country", "true", "FR"),
    ]
    assert (step.outcome, step.rule, step.capped) == ("unknown", None, False)


def test_it_names_who_won_and_who_waits() -> None:
    waits = account(name="later", not_before="2090-01-01T00:00:00Z", default="remove")
    explained = steps(account(default="alert"), meeting(default="alert"), waits)
    assert [step.policy for step in explained.documents] == ["account/acme/licensing", "meeting/acme/m-1/licensing"]
    assert explained.decided_by == "account/acme/licensing", "the widest scope wins a tie"
    assert explained.waiting == ("account/acme/later",)
    assert explained.verdict == "alert"
    assert steps().decided_by is None


def test_a_capped_removal_says_so() -> None:
    unlocated = Facts(address=b"\0\0\0\0", country="FR", continent="EU", connection=ANY_CONNECTION)
    document = service(rules=[rule("remove", {"country": ["FR"]}, "listed")])
    [step] = steps(document, known=unlocated).documents
    assert (step.verdict, step.rule, step.capped) == ("alert", "listed", True)


def test_facts_are_said_without_the_address() -> None:
    document = account(rules=[rule("alert", {"network": ["5.39.0.0/16"], "connection": ["relay"], "stage": ["live"]})])

    def met(known: Facts) -> list[str]:
        [step] = steps(document, known=known).documents
        return [condition.met for condition in step.rules[0].conditions]

    assert met(FRANCE) == ["the address", "other", "live"]
    assert met(Facts(connection=RELAY)) == ["no readable address", "relay", "live"]
    assert met(Facts(connection=ANONYMISED)) == ["no readable address", "tor or vpn or proxy", "live"]


def test_a_workers_explanation_leaves_out_the_rosters_it_does_not_publish() -> None:
    trial = service(mode="report", rules=[rule("alert", {"country": ["FR"]}, "listed")])
    assert steps(trial).documents == ()
    assert [step.mode for step in steps(trial, rosters=True).documents] == ["report"]


FIELDS = {"country": ["FR", "US"], "continent": ["EU"], "role": ["guest"], "connection": ["vpn", "hosting"]}
RULES = st.lists(st.tuples(st.sampled_from(sorted(FIELDS)), st.booleans(), st.sampled_from(VERDICTS)), max_size=4)


@PROPERTY
@given(RULES, st.sampled_from(VERDICTS), st.sampled_from(VERDICTS), st.sampled_from(["enforce", "report"]), facts)
def test_it_agrees_with_the_decision(rules, default, unknown, mode, known) -> None:
    written = [
        rule(then, {field: {"not": FIELDS[field]} if negated else FIELDS[field]}, f"r{i}")
        for i, (field, negated, then) in enumerate(rules)
    ]
    documents = index(account(rules=written, default=default, unknown=unknown, mode=mode), meeting(default="alert"))
    enforced, reported = judge(documents, join(), known, NOON)
    explained = explain(documents, join(), known, NOON)
    assert explained.verdict == VERDICTS[enforced.verdict]
    assert explained.decided_by == (enforced.revision.document.path if enforced.revision else None)
    told = {step.policy: step for step in explained.documents}
    assert {path for path, step in told.items() if step.mode == "enforce"} == enforced.policies.keys()
    for judgement in filter(None, (enforced, reported)):
        step = told[judgement.revision.document.path]
        assert step.outcome == judgement.finding.outcome
        assert step.rule == (judgement.finding.rule.id if judgement.finding.rule else None)
    for step in explained.documents:
        assert all(tried.state != "true" for tried in step.rules[:-1])
        if step.outcome == "rule":
            assert step.rules[-1].id == step.rule
            assert step.rules[-1].state == "true"


# -- a recorded decision -----------------------------------------------------------------------------------------

HERE = account(rules=[rule("remove", {"country": ["FR"]}, "here")], revision=3)
TRIAL = account(name="trial", mode="report", default="alert")


def recorded(*documents, known=FRANCE, mode="enforce"):
    enforced, reported = judge(index(*documents), event().data, known, NOON)
    judgement = enforced if mode == "enforce" else reported
    return decision(event(), known, judgement, PROVENANCE, mode=mode, offset=1, at=NOON).data


def test_a_decision_is_made_again_from_the_revisions_it_names() -> None:
    made = again(recorded(HERE, meeting()), "enforce", [revision(HERE), revision(meeting())], join(), FRANCE)
    assert made.same == "same"
    assert (made.reason.policy, made.reason.rule) == ("account/acme/licensing", "here")
    assert [step.policy for step in made.explanation.documents] == [
        "account/acme/licensing",
        "meeting/acme/m-1/licensing",
    ]


def test_it_is_made_again_at_its_own_instant() -> None:
    window = account(default="remove", not_before="2026-11-21T11:00:00Z", not_after="2026-11-21T13:00:00Z")
    assert again(recorded(window), "enforce", [revision(window)], join(), FRANCE).same == "same"


def test_a_decision_in_report_mode_is_explained_by_the_documents_in_report_mode() -> None:
    made = again(recorded(HERE, TRIAL, mode="report"), "report", [revision(TRIAL)], join(), FRANCE)
    assert (made.same, made.explanation.verdict, made.explanation.decided_by) == ("same", "alert", "account/acme/trial")
    assert again(recorded(HERE, TRIAL, mode="report"), "report", [], join(), FRANCE).same == "verdict"


def test_it_says_where_other_facts_lead_elsewhere() -> None:
    made = again(recorded(HERE), "enforce", [revision(HERE)], join(), located(country="US"))
    assert (made.same, made.explanation.verdict, made.reason) == ("verdict", "admit", None)
    two = account(rules=[rule("remove", {"country": ["FR"]}, "here"), rule("remove", id_="anyone")])
    made = again(recorded(two), "enforce", [revision(two)], join(), located(country="US"))
    assert (made.same, made.reason.rule) == ("reason", "anyone")
    assert again(recorded(), "enforce", [], join(), FRANCE).same == "same"
