package doorward.peer;

import doorward.peer.DecisionWriter.About;
import doorward.peer.Document.Verdict;

/** One join, answered: judged, and put into the bytes that are sent. One thread only. */
final class Decider {
    /** What is sent for one join; {@code report} is null where no document in report mode applied. */
    record Answer(byte[] decision, byte[] report, Verdict verdict, Verdict reported) {}

    final Geography geography;
    private final Index index;
    private final DecisionWriter writer;
    private final boolean rosters;
    private final boolean writesReports;

    /**
     * @param rosters whether service documents in report mode are reported on (offline only, ruling 34)
     * @param writesReports whether decisions in report mode are put into bytes
     */
    Decider(Index index, Geography geography, boolean rosters, boolean writesReports) throws java.io.IOException {
        this.index = index;
        this.geography = geography;
        this.writer = new DecisionWriter(geography.build);
        this.rosters = rosters;
        this.writesReports = writesReports;
    }

    /** Decides a join that stands alone. */
    Answer answer(Event event, String subject, Facts facts, long offset, long at) {
        About about =
                new About(event.account, event.meeting, event.participation, subject, event.role, event.stage);
        return answer(event, about, facts, offset, geography.time, at);
    }

    /** Decides a join; for the arguments see {@link DecisionWriter#write}. */
    Answer answer(Event event, About about, Facts facts, long offset, long geoTime, long at) {
        Judgement.Both both = Judgement.judge(
                index, about.account(), about.meeting(), about.role(), about.stage(), facts, at, rosters);
        byte[] decision = writer.write("enforce", event, about, facts, both.enforced(), offset, geoTime, at);
        Judgement reported = both.reported();
        boolean reports = writesReports && !reported.applied.isEmpty();
        byte[] report =
                reports ? writer.write("report", event, about, facts, reported, offset, geoTime, at) : null;
        return new Answer(decision, report, both.enforced().verdict, reported.verdict);
    }
}
