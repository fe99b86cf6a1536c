package doorward.peer;

import java.util.Arrays;

/** A live participation as remembered (streams.core.sessions.Session). */
final class Session {
    String account;
    String meeting;
    String participation;
    String role;
    String stage;
    Facts.Place place;
    /** The address, sealed; null where it was none or nothing seals. */
    byte[] sealed;
    int verdict;
    int reported;
    String cause;
    long offset;
    long policyOffset = -1;
    long geoTime;
    long decidedAt;
    String geoBuild;
    Long sequence;
    Long time;
    String id;
    String source;
    long seenAt;
    long removedAt;
    int reminders;

    /** The session that a participation's first known event begins. */
    static Session begin(Event event, Facts.Place place, byte[] sealed, long offset, String build) {
        Session session = new Session();
        session.account = event.account;
        session.meeting = event.meeting;
        session.participation = event.participation;
        session.take(event, place, sealed, offset, build);
        return session;
    }

    private void take(Event event, Facts.Place place, byte[] sealed, long offset, String build) {
        role = event.role;
        stage = event.stage;
        this.place = place;
        this.sealed = sealed;
        geoBuild = build;
        sequence = event.sequence;
        time = event.time;
        id = event.id;
        source = event.source;
        this.offset = offset;
    }

    /** Lets it know of an event; returns whether that is its newest: by sequence, without one by (time, id). */
    boolean renew(Event event, Facts.Place place, byte[] sealed, long eventOffset, String build) {
        int order = compare(event);
        if (order < 0) {
            return false;
        }
        long newest = eventOffset;
        if (order == 0) { // the same event again: the same content, unless somebody broke CloudEvents' rule
            newest = offset = Math.max(offset, eventOffset);
            if (!outranks(event, sealed)) {
                return false;
            }
        }
        if (newest > offset) {
            geoTime = 0; // whatever is said of this event ranks above all that was said before
        }
        take(event, place, sealed, newest, build);
        return true;
    }

    private boolean outranks(Event event, byte[] other) {
        int order = event.role.compareTo(role);
        order = order != 0 ? order : event.stage.compareTo(stage);
        byte[] none = {};
        byte[] now = other == null ? none : other;
        return (order != 0 ? order : Arrays.compareUnsigned(now, sealed == null ? none : sealed)) > 0;
    }

    /** Where an event stands beside the newest known: events with a sequence come after all those without. */
    private int compare(Event event) {
        int order = Boolean.compare(event.sequence != null, sequence != null);
        order = order != 0 ? order : Long.compare(or(event.sequence, 0), or(sequence, 0));
        order = order != 0 ? order : Long.compare(or(event.time, Long.MIN_VALUE), or(time, Long.MIN_VALUE));
        order = order != 0 ? order : compare(event.id, id);
        return order != 0 ? order : compare(event.source, source);
    }

    private static long or(Long value, long otherwise) {
        return value == null ? otherwise : value;
    }

    /** By code point, as UTF-8 sorts; Java's own order is by UTF-16. */
    private static int compare(String one, String other) {
        for (int i = 0; i < Math.min(one.length(), other.length()); i++) {
            char a = one.charAt(i);
            char b = other.charAt(i);
            if (a != b) {
                boolean differ = Character.isSurrogate(a) != Character.isSurrogate(b);
                return differ && a >= 0xd800 && b >= 0xd800 ? (Character.isSurrogate(a) ? 1 : -1) : a - b;
            }
        }
        return one.length() - other.length();
    }
}
