package doorward.peer;

import doorward.peer.Decider.Answer;
import doorward.peer.DecisionWriter.About;
import doorward.peer.Document.Verdict;
import doorward.peer.SessionRecord.Ended;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.state.KeyValueIterator;
import org.apache.kafka.streams.state.KeyValueStore;

/**
 * One partition's participations, live and ended (streams.agents.sessions), in a store by subject.
 *
 * <p>Whose a live meeting is stands in a map beside it, counted up from the store when the partition is taken on.
 */
final class SessionKeeper {
    private static final long LATENESS = 21_600_000L;
    private static final long TIME_TO_LIVE = 86_400_000L;
    /** Records are told from a former owner's by the group's own fencing, so their number says nothing. */
    private static final long NUMBER = 1;

    private static final class Meeting {
        final String account;
        int live;

        Meeting(String account) {
            this.account = account;
        }
    }

    private final int partition;
    private final Decider decider;
    private final Sealer sealer;
    private final KeyValueStore<Bytes, byte[]> store;
    private final SessionRecord records = new SessionRecord();
    private final Map<String, Meeting> meetings = new HashMap<>();
    private long latest;
    private Bytes looked;

    SessionKeeper(int partition, Decider decider, Sealer sealer, KeyValueStore<Bytes, byte[]> store) {
        this.partition = partition;
        this.decider = decider;
        this.sealer = sealer;
        this.store = store;
        try (KeyValueIterator<Bytes, byte[]> rows = store.all()) {
            while (rows.hasNext()) {
                byte[] row = rows.next().value;
                if (SessionRecord.isLive(row, Sealer.payloadAt())) {
                    Session session = SessionRecord.session(row, Sealer.payloadAt());
                    meetings.computeIfAbsent(session.meeting, id -> new Meeting(session.account)).live++;
                    latest = Math.max(latest, session.decidedAt);
                }
            }
        }
    }

    /** Answers a join or update. */
    Answer join(Event event, long offset, long now) throws Malformed {
        long at = latest = Math.max(latest, now);
        String subject = Document.path(event.account, event.meeting, event.participation);
        Bytes key = Bytes.wrap(subject.getBytes(StandardCharsets.UTF_8));
        Facts facts = decider.geography.locate(event.address);
        byte[] row = store.get(key);
        boolean isLive = row != null && SessionRecord.isLive(row, Sealer.payloadAt());
        if (row != null && !isLive) { // its session is forgotten, so it is answered by what it says itself
            return decider.answer(event, subject, facts, SessionRecord.ended(row, Sealer.payloadAt()).offset(), at);
        }
        Meeting meeting = meetings.get(event.meeting);
        if (meeting != null && !meeting.account.equals(event.account)) {
            throw new Malformed("account_mismatch");
        }
        byte[] sealed = facts.address() == null ? null : sealer.seal(facts.address(), key.get());
        String build = decider.geography.build;
        Session session;
        Answer answer;
        if (!isLive) {
            session = Session.begin(event, facts.place(), sealed, offset, build);
            answer = decider.answer(event, subject, facts, offset, at);
            if (meeting == null) {
                meeting = new Meeting(event.account);
                meetings.put(event.meeting, meeting);
            }
            meeting.live++;
        } else {
            session = SessionRecord.session(row, Sealer.payloadAt());
            long known = session.offset;
            boolean isNewest = session.renew(event, facts.place(), sealed, offset, build);
            if (session.offset == known && decider.geography.time <= session.geoTime && session.decidedAt > at) {
                at = session.decidedAt + 1; // what is said now must not rank below what was said last
            }
            if (!isNewest) {
                facts = facts(session, key.get());
                session.place = facts.place();
                session.geoBuild = build;
            }
            About about = new About(
                    session.account, session.meeting, session.participation, subject, session.role, session.stage);
            long geoTime = Math.max(decider.geography.time, session.geoTime);
            answer = decider.answer(event, about, facts, session.offset, geoTime, at);
        }
        note(session, event, answer, at);
        put(key, records.encode(session));
        return answer;
    }

    private void note(Session session, Event event, Answer answer, long at) {
        session.cause = event.kind.cause;
        session.seenAt = at;
        session.verdict = answer.verdict().ordinal();
        session.reported = answer.reported().ordinal();
        session.policyOffset = 0;
        session.decidedAt = at;
        session.geoTime = Math.max(session.geoTime, decider.geography.time);
        if (answer.verdict() != Verdict.REMOVE) {
            session.removedAt = 0;
        } else if (session.removedAt == 0) {
            session.removedAt = at;
        }
    }

    /** The facts of a session's own address, by the geo file in use. */
    private Facts facts(Session session, byte[] subject) {
        byte[] packed = sealer.unseal(session.sealed, subject);
        boolean isOld = packed != null && !session.geoBuild.equals(decider.geography.build);
        return new Facts(packed, isOld ? decider.geography.place(packed) : session.place);
    }

    /** Ends a participation, known or not: its join may yet arrive. */
    void leave(Event event, long offset, long now) {
        long at = latest = Math.max(latest, now);
        String subject = Document.path(event.account, event.meeting, event.participation);
        Bytes key = Bytes.wrap(subject.getBytes(StandardCharsets.UTF_8));
        byte[] row = store.get(key);
        Ended ended = new Ended(offset, at + LATENESS);
        if (row != null && SessionRecord.isLive(row, Sealer.payloadAt())) {
            drop(event.meeting);
        } else if (row != null) { // seen twice: keep what lasts longest
            Ended before = SessionRecord.ended(row, Sealer.payloadAt());
            ended = new Ended(Math.max(before.offset(), offset), Math.max(before.until(), ended.until()));
        }
        put(key, records.encode(ended));
    }

    private void drop(String meeting) {
        if (--meetings.get(meeting).live == 0) {
            meetings.remove(meeting);
        }
    }

    private void put(Bytes key, byte[] record) {
        store.put(key, sealer.frame(partition, NUMBER, key.get(), record));
    }

    /** Looks at some rows, going on where it stopped, and forgets what is no longer expected. */
    void expire(long now, int most) {
        int left = most;
        try (KeyValueIterator<Bytes, byte[]> rows = looked == null ? store.all() : store.range(looked, null)) {
            for (; left > 0 && rows.hasNext(); left--) {
                KeyValue<Bytes, byte[]> each = rows.next();
                looked = each.key;
                boolean isLive = SessionRecord.isLive(each.value, Sealer.payloadAt());
                if (!isLive && SessionRecord.ended(each.value, Sealer.payloadAt()).until() <= now) {
                    store.delete(each.key);
                } else if (isLive) {
                    Session session = SessionRecord.session(each.value, Sealer.payloadAt());
                    if (session.seenAt + TIME_TO_LIVE <= now) {
                        drop(session.meeting);
                        store.delete(each.key);
                    }
                }
            }
        }
        looked = left > 0 ? null : looked;
    }
}
