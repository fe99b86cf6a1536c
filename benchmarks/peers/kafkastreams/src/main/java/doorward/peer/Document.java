package doorward.peer;

import java.util.List;

/** One revision of a policy document, checked and compiled. Times are ms since the epoch, null where not given. */
record Document(
        boolean isService,
        String account,
        String meeting,
        String path,
        long revision,
        Rule[] rules,
        Verdict ifNone,
        Verdict ifUnknown,
        boolean reports,
        Long notBefore,
        Long notAfter,
        String documentClass,
        String ground,
        String reference,
        String contest,
        boolean retracted,
        Receipts receipts) {

    /** Least strict first. */
    enum Verdict {
        ADMIT,
        ALERT,
        REMOVE;

        final String word = name().toLowerCase(java.util.Locale.ROOT);
        final String eventType = "doorward." + word + ".v1";
    }

    /** How a document's verdict came about. */
    enum Outcome {
        RULE,
        DEFAULT,
        UNKNOWN;

        final String word = name().toLowerCase(java.util.Locale.ROOT);
    }

    /** Every condition must hold; none matches all. */
    record Rule(String id, Condition[] conditions, Verdict then, String note) {
        /** Whether it names a territory that is known of the facts, and no anonymised connection is possible (C4). */
        boolean locates(Facts facts) {
            Facts.Place place = facts.place();
            if ((place.connection() & Facts.Place.ANONYMISED) != 0) {
                return false;
            }
            for (Condition condition : conditions) {
                if (condition.namesTerritory) {
                    String known = switch (condition.field) {
                        case "country" -> place.country();
                        case "subdivision" -> place.subdivision();
                        default -> place.continent();
                    };
                    if (known != null) {
                        return true;
                    }
                }
            }
            return false;
        }
    }

    /** Percent-encoded parts with slashes between; RFC 3986 unreserved characters stay (ruling 20). */
    static String path(String... parts) {
        for (String part : parts) {
            if (!isUnreserved(part)) {
                return encoded(parts);
            }
        }
        return String.join("/", parts);
    }

    private static boolean isUnreserved(String part) {
        for (int i = 0; i < part.length(); i++) {
            if (!isUnreserved(part.charAt(i))) {
                return false;
            }
        }
        return true;
    }

    private static boolean isUnreserved(char c) {
        return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || "-._~".indexOf(c) >= 0;
    }

    private static String encoded(String... parts) {
        StringBuilder path = new StringBuilder();
        for (String part : parts) {
            for (byte b : part.getBytes(java.nio.charset.StandardCharsets.UTF_8)) {
                if (b >= 0 && isUnreserved((char) b)) {
                    path.append((char) b);
                } else {
                    path.append(String.format("%%%02X", b & 0xff));
                }
            }
            path.append('/');
        }
        path.setLength(path.length() - 1);
        return path.toString();
    }

    /** Decodes what {@link #path} made. */
    static List<String> parts(String path) {
        return java.util.stream.Stream.of(path.split("/", -1))
                .map(part -> java.net.URLDecoder.decode(part, java.nio.charset.StandardCharsets.UTF_8))
                .toList();
    }
}
