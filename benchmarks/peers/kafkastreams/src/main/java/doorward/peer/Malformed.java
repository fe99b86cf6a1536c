package doorward.peer;

/** A record that is no event we take; the message is the dead letter's reason. Thrown often, so without a trace. */
final class Malformed extends Exception {
    private static final long serialVersionUID = 1L;

    Malformed(String reason) {
        super(reason, null, false, false);
    }
}
