package doorward.peer;

/** A join, update or leave, decoded and checked; of a leave only the ids, source, id and time mean anything. */
final class Event {
    enum Kind {
        JOIN("join"),
        UPDATE("update"),
        LEAVE("leave");

        /** What a decision on it gives as its cause. */
        final String cause;

        Kind(String cause) {
            this.cause = cause;
        }

        /** The kind of a CloudEvents type, or null. */
        static Kind of(String type) {
            return switch (type) {
                case "doorward.join.v1" -> JOIN;
                case "doorward.update.v1" -> UPDATE;
                case "doorward.leave.v1" -> LEAVE;
                default -> null;
            };
        }
    }

    Kind kind;
    String source;
    String id;
    /** Milliseconds since the epoch; null without. */
    Long time;

    String meeting;
    String account;
    String participation;
    String address;
    String role;
    String stage;
    Long sequence;

    /** Forget what an earlier {@code data} said. */
    void clearData() {
        meeting = account = participation = address = role = stage = null;
        sequence = null;
    }

    /** Puts the defaults where the event said nothing. */
    Event normalised() {
        if (role == null) {
            role = "participant";
        }
        if (stage == null) {
            stage = "live";
        }
        return this;
    }
}
