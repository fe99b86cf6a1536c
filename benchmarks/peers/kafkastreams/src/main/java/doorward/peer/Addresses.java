package doorward.peer;

import java.util.Arrays;

/** IP addresses as written to packed bytes: strict as inet_pton, IPv4 inside IPv6 taken out once. */
final class Addresses {
    private static final byte[] MAPPED = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, -1, -1};
    private static final byte[] NAT64 = {0, 0x64, -1, (byte) 0x9b, 0, 0, 0, 0, 0, 0, 0, 0};

    private Addresses() {}

    /** 4 or 16 bytes, unwrapped; null for text that is no address. */
    static byte[] parse(String text) {
        byte[] packed = literal(text);
        if (packed == null || packed.length == 4) {
            return packed;
        }
        if (startsWith(packed, MAPPED) || startsWith(packed, NAT64)) {
            return Arrays.copyOfRange(packed, 12, 16);
        }
        return packed[0] == 0x20 && packed[1] == 0x02 ? Arrays.copyOfRange(packed, 2, 6) : packed;
    }

    /** 4 or 16 bytes as written; null for text that is no address. */
    static byte[] literal(String text) {
        if (text.indexOf(':') >= 0) {
            return six(text);
        }
        byte[] packed = new byte[4];
        return four(text, 0, packed, 0) ? packed : null;
    }

    /** First and last address of a CIDR block without host bits, IPv4-mapped ones unwrapped; null for anything else. */
    static byte[][] network(String cidr) {
        int slash = cidr.indexOf('/');
        if (slash < 0 || !cidr.substring(slash + 1).matches("0|[1-9][0-9]{0,2}")) {
            return null;
        }
        byte[] first = literal(cidr.substring(0, slash));
        int length = Integer.parseInt(cidr.substring(slash + 1));
        if (first == null || length > first.length * 8) {
            return null;
        }
        byte[] last = first.clone();
        for (int bit = length; bit < first.length * 8; bit++) {
            int mask = 0x80 >> (bit & 7);
            if ((first[bit >> 3] & mask) != 0) {
                return null;
            }
            last[bit >> 3] |= (byte) mask;
        }
        if (first.length == 16 && length >= 96 && startsWith(first, MAPPED)) {
            return new byte[][] {Arrays.copyOfRange(first, 12, 16), Arrays.copyOfRange(last, 12, 16)};
        }
        return new byte[][] {first, last};
    }

    private static boolean startsWith(byte[] packed, byte[] prefix) {
        return Arrays.equals(packed, 0, prefix.length, prefix, 0, prefix.length);
    }

    private static boolean four(String text, int begin, byte[] into, int place) {
        int part = 0;
        int octet = -1;
        for (int i = begin; i < text.length(); i++) {
            char c = text.charAt(i);
            if (c >= '0' && c <= '9') {
                if (octet == 0) {
                    return false;
                }
                octet = (octet < 0 ? 0 : octet * 10) + c - '0';
                if (octet > 255) {
                    return false;
                }
            } else if (c == '.' && octet >= 0 && part < 3) {
                into[place + part++] = (byte) octet;
                octet = -1;
            } else {
                return false;
            }
        }
        if (part != 3 || octet < 0) {
            return false;
        }
        into[place + 3] = (byte) octet;
        return true;
    }

    private static byte[] six(String text) {
        byte[] packed = new byte[16];
        int length = text.length();
        int at = 0;
        int gap = -1;
        int group = 0;
        int digits = 0;
        int begin = 0;
        int i = 0;
        if (text.charAt(0) == ':') {
            if (length < 2 || text.charAt(1) != ':') {
                return null;
            }
            i = 1;
            begin = 1;
        }
        for (; i < length; i++) {
            char c = text.charAt(i);
            int digit = c < 128 ? Character.digit(c, 16) : -1;
            if (digit >= 0) {
                if (++digits > 4) {
                    return null;
                }
                group = group << 4 | digit;
            } else if (c == ':') {
                begin = i + 1;
                if (digits == 0) {
                    if (gap >= 0) {
                        return null;
                    }
                    gap = at;
                    continue;
                }
                if (i + 1 == length || at > 14) {
                    return null;
                }
                packed[at++] = (byte) (group >> 8);
                packed[at++] = (byte) group;
                group = 0;
                digits = 0;
            } else if (c == '.' && at <= 12 && four(text, begin, packed, at)) {
                at += 4;
                digits = 0;
                break;
            } else {
                return null;
            }
        }
        if (digits > 0) {
            if (at > 14) {
                return null;
            }
            packed[at++] = (byte) (group >> 8);
            packed[at++] = (byte) group;
        }
        if (gap < 0) {
            return at == 16 ? packed : null;
        }
        if (at == 16) {
            return null;
        }
        System.arraycopy(packed, gap, packed, 16 - (at - gap), at - gap);
        Arrays.fill(packed, gap, 16 - (at - gap), (byte) 0);
        return packed;
    }
}
