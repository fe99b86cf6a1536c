package doorward.peer;

/**
 * What is known of one address: its packed bytes (null where the text was none), and of what lies there.
 *
 * <p>Everything is null where not known; {@code connection} is the set of possible ones, a bit each.
 */
record Facts(byte[] address, Place place) {
    static final Facts NOTHING = new Facts(null, Place.NOWHERE);

    record Place(String country, String subdivision, String continent, Long asn, int connection) {
        static final String[] CONNECTIONS = {"tor", "vpn", "proxy", "relay", "hosting", "mobile", "residential"};
        static final int OTHER = 1 << CONNECTIONS.length;
        static final int ANY = 2 * OTHER - 1;
        static final int ANONYMISED = 7;
        static final int RELAY = 8;
        static final Place NOWHERE = new Place(null, null, null, null, ANY);

        /** The connection's name where exactly one that has a name is possible. */
        String knownConnection() {
            boolean single = Integer.bitCount(connection) == 1 && connection != OTHER;
            return single ? CONNECTIONS[Integer.numberOfTrailingZeros(connection)] : null;
        }
    }
}
