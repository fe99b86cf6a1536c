package doorward.peer;

import java.time.LocalDate;
import java.time.YearMonth;

/** RFC 3339 times to milliseconds since the epoch: of events as msgspec reads them, of documents rounded up. */
final class Rfc3339 {
    static final long NONE = Long.MIN_VALUE;

    private Rfc3339() {}

    /** An event's time, rounded half to even; NONE for what is no time. */
    static long ofEvent(String text) {
        long micros = micros(text, false);
        return micros == NONE ? NONE : (long) Math.rint(micros / 1e6 * 1000);
    }

    /** A document's time, rounded up; NONE for what is no time. A leap second counts as the second after it. */
    static long ofDocument(String text) {
        long micros = micros(text, true);
        return micros == NONE ? NONE : -Math.floorDiv(-micros, 1000L);
    }

    /**
     * Microseconds since the epoch. The seventh digit of a fraction rounds: half up for an event, up for a document,
     * where any digit behind does so too. Events may write a space for T and an offset without a colon.
     */
    private static long micros(String text, boolean ofDocument) {
        int length = text.length();
        if (length < 20 || text.charAt(4) != '-' || text.charAt(7) != '-' || text.charAt(13) != ':') {
            return NONE;
        }
        char t = text.charAt(10);
        if (text.charAt(16) != ':' || !(t == 'T' || t == 't' || (t == ' ' && !ofDocument))) {
            return NONE;
        }
        int year = digits(text, 0, 4);
        int month = digits(text, 5, 2);
        int day = digits(text, 8, 2);
        int hour = digits(text, 11, 2);
        int minute = digits(text, 14, 2);
        int second = digits(text, 17, 2);
        if (year < 1 || month < 1 || month > 12 || day < 1 || day > daysIn(year, month)) {
            return NONE;
        }
        if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > (ofDocument ? 60 : 59)) {
            return NONE;
        }
        int at = 19;
        long fraction = 0;
        if (text.charAt(at) == '.') {
            int begin = ++at;
            boolean up = false;
            for (; at < length && text.charAt(at) >= '0' && text.charAt(at) <= '9'; at++) {
                int digit = text.charAt(at) - '0';
                if (at - begin < 6) {
                    fraction = fraction * 10 + digit;
                } else {
                    up |= ofDocument ? digit > 0 : at - begin == 6 && digit >= 5;
                }
            }
            if (at == begin) {
                return NONE;
            }
            for (int i = at - begin; i < 6; i++) {
                fraction *= 10;
            }
            fraction += up ? 1 : 0;
        }
        int offset = offset(text, at, ofDocument);
        if (offset == Integer.MIN_VALUE) {
            return NONE;
        }
        long days = LocalDate.of(year, month, day).toEpochDay();
        long seconds = days * 86_400 + hour * 3600 + minute * 60 + second;
        if (fraction == 1_000_000 && seconds == 253_402_300_799L && !ofDocument) {
            return NONE;
        }
        return (seconds - offset * 60L) * 1_000_000 + fraction;
    }

    /** Minutes east of UTC, or MIN_VALUE. */
    private static int offset(String text, int at, boolean ofDocument) {
        int left = text.length() - at;
        if (left == 1 && (text.charAt(at) == 'Z' || text.charAt(at) == 'z')) {
            return 0;
        }
        boolean colon = left == 6 && text.charAt(at + 3) == ':';
        if (!(colon || (left == 5 && !ofDocument)) || (text.charAt(at) != '+' && text.charAt(at) != '-')) {
            return Integer.MIN_VALUE;
        }
        int hours = digits(text, at + 1, 2);
        int minutes = digits(text, at + (colon ? 4 : 3), 2);
        if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59) {
            return Integer.MIN_VALUE;
        }
        return (text.charAt(at) == '+' ? 1 : -1) * (hours * 60 + minutes);
    }

    private static int daysIn(int year, int month) {
        return YearMonth.of(year, month).lengthOfMonth();
    }

    /** So many decimal digits as a number; -1 where one is something else. */
    private static int digits(String text, int at, int count) {
        int number = 0;
        for (int i = at; i < at + count; i++) {
            int digit = text.charAt(i) - '0';
            if (digit < 0 || digit > 9) {
                return -1;
            }
            number = number * 10 + digit;
        }
        return number;
    }
}
