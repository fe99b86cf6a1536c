package doorward.peer;

import doorward.peer.Document.Verdict;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HexFormat;

/** Ids of decisions: BLAKE2b-128 over their parts, each UTF-8 behind its length (ruling 23). One thread only. */
final class DecisionIds {
    private static final HexFormat HEX = HexFormat.of();

    private final Blake2b digest = new Blake2b(16, null, "");
    private final byte[] hash = new byte[16];
    private byte[] parts = new byte[512];
    private int length;

    String of(String mode, String account, String meeting, String participation, Event event, Verdict verdict) {
        length = 0;
        add(mode);
        add(account);
        add(meeting);
        add(participation);
        add("event");
        add(event.source);
        add(event.id);
        add(verdict.word);
        digest.hash(parts, length, hash, 0);
        return HEX.formatHex(hash);
    }

    private void add(String part) {
        byte[] raw = part.getBytes(StandardCharsets.UTF_8);
        int end = length + 4 + raw.length;
        if (end > parts.length) {
            parts = Arrays.copyOf(parts, 2 * end);
        }
        parts[length] = (byte) (raw.length >> 24);
        parts[length + 1] = (byte) (raw.length >> 16);
        parts[length + 2] = (byte) (raw.length >> 8);
        parts[length + 3] = (byte) raw.length;
        System.arraycopy(raw, 0, parts, length + 4, raw.length);
        length = end;
    }
}
