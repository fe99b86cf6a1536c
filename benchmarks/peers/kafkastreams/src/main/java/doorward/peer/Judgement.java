package doorward.peer;

import doorward.peer.Document.Outcome;
import doorward.peer.Document.Rule;
import doorward.peer.Document.Verdict;
import java.util.ArrayList;
import java.util.List;

/** What all documents of one mode say of one join: the strictest, ties with the widest scope and the lowest path. */
final class Judgement {
    /** Both of a join's: of the documents in force, and of those in report mode. */
    record Both(Judgement enforced, Judgement reported) {}

    Verdict verdict = Verdict.ADMIT;
    Outcome outcome;
    /** The deciding rule; null unless the outcome is RULE. */
    Rule rule;
    /** The deciding document; null when none applied. */
    Document document;
    /** Every document that applied. */
    final List<Document> applied = new ArrayList<>(4);

    /**
     * The judgements of a join.
     *
     * @param rosters whether service documents in report mode count; offline they do, in a worker not (ruling 34)
     */
    static Both judge(
            Index index,
            String account,
            String meeting,
            String role,
            String stage,
            Facts facts,
            long at,
            boolean rosters) {
        Both both = new Both(new Judgement(), new Judgement());
        Index.Account reached = index.account(account);
        take(both, index.service, role, stage, facts, at, rosters);
        take(both, reached.slots, role, stage, facts, at, rosters);
        take(both, Index.meeting(reached, meeting), role, stage, facts, at, rosters);
        return both;
    }

    private static void take(
            Both both, Index.Slot[] slots, String role, String stage, Facts facts, long at, boolean rosters) {
        for (Index.Slot slot : slots) {
            Document document = slot.inForce(at);
            if (document == null) {
                continue;
            }
            if (!document.reports()) {
                both.enforced.take(document, role, stage, facts);
            } else if (rosters || !document.isService()) {
                both.reported.take(document, role, stage, facts);
            }
        }
    }

    /** One document's verdict: rules in order, open ones counted, the first true one ends the search (rule 4). */
    private void take(Document document, String role, String stage, Facts facts) {
        int possible = 0;
        Rule deciding = null;
        for (Rule each : document.rules()) {
            Condition.Truth truth = truth(each, role, stage, facts);
            if (truth != Condition.Truth.FALSE) {
                possible |= 1 << each.then().ordinal();
                if (truth == Condition.Truth.TRUE) {
                    deciding = each;
                    break;
                }
            }
        }
        Verdict said = deciding == null ? document.ifNone() : deciding.then();
        Outcome how = deciding == null ? Outcome.DEFAULT : Outcome.RULE;
        if ((possible & ~(1 << said.ordinal())) != 0) {
            said = document.ifUnknown();
            how = Outcome.UNKNOWN;
            deciding = null;
        }
        // C4: a service document removes only who is located in a territory that the rule names.
        if (said == Verdict.REMOVE && document.isService() && (deciding == null || !deciding.locates(facts))) {
            said = Verdict.ALERT;
        }
        applied.add(document);
        if (this.document == null || said.compareTo(verdict) > 0) {
            this.document = document;
            verdict = said;
            outcome = how;
            rule = deciding;
        }
    }

    private static Condition.Truth truth(Rule rule, String role, String stage, Facts facts) {
        Condition.Truth truth = Condition.Truth.TRUE;
        for (Condition condition : rule.conditions()) {
            switch (condition.test.of(role, stage, facts)) {
                case FALSE -> {
                    return Condition.Truth.FALSE;
                }
                case OPEN -> truth = Condition.Truth.OPEN;
                case TRUE -> {}
            }
        }
        return truth;
    }

    /** Whether there is a reason to give: not for an admit by default or without a document (ruling 22). */
    boolean hasReason() {
        return document != null && !(verdict == Verdict.ADMIT && outcome == Outcome.DEFAULT);
    }

    /** Whether the facts that the rule named may be told (ruling 34). */
    boolean tellsFacts() {
        return rule != null && (verdict == Verdict.REMOVE || !document.isService());
    }
}
