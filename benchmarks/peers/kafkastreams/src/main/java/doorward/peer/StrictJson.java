package doorward.peer;

import com.fasterxml.jackson.core.JacksonException;
import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/** Is it JSON, and how deeply nested? Jackson takes byte order marks, other encodings and lone surrogates; here not. */
final class StrictJson {
    /** Nested containers that are still accepted, the outermost counted (ruling 26). */
    static final int MAX_DEPTH = 64;

    /** What is deeper than orjson goes is too deep, whatever it stands under. */
    private static final int DEEPEST_TREE = 1024;

    /** A record has at most 1 MiB, so nothing in one can be larger; depth is looked at here, in so many words. */
    static final JsonFactory FACTORY = JsonFactory.builder()
            .streamReadConstraints(StreamReadConstraints.builder()
                    .maxNestingDepth(1 << 20)
                    .maxNumberLength(1 << 20)
                    .maxNameLength(1 << 20)
                    .maxStringLength(1 << 20)
                    .build())
            .build();

    private static final ObjectMapper TREES = new ObjectMapper(FACTORY);
    private static final VarHandle LONGS = MethodHandles.byteArrayViewVarHandle(long[].class, ByteOrder.nativeOrder());
    private static final long ONES = 0x0101010101010101L;
    private static final long HIGHS = 0x8080808080808080L;
    private static final long BACKSLASHES = '\\' * ONES;

    private StrictJson() {}

    /** Whether a typed decoder sees in these bytes all that {@link #check} would: ASCII without escapes or NUL. */
    static boolean isPlain(byte[] raw) {
        int at = 0;
        for (; at + 8 <= raw.length; at += 8) {
            long word = (long) LONGS.get(raw, at);
            long escapes = word ^ BACKSLASHES;
            // High bits: of the bytes themselves, and of those that are zero, or were a backslash.
            if (((word | (word - ONES) & ~word | (escapes - ONES) & ~escapes) & HIGHS) != 0) {
                return false;
            }
        }
        for (; at < raw.length; at++) {
            if (raw[at] <= 0 || raw[at] == '\\') {
                return false;
            }
        }
        return true;
    }

    /** The text of one JSON value, checked: not_json, else too_deep. */
    static String check(byte[] raw) throws Malformed {
        String text;
        try {
            text = StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(raw)).toString();
        } catch (CharacterCodingException e) {
            throw new Malformed("not_json");
        }
        if (text.startsWith("\ufeff")) {
            throw new Malformed("not_json");
        }
        int deepest = 0;
        try (JsonParser parser = FACTORY.createParser(text)) {
            int depth = 0;
            JsonToken token = parser.nextToken();
            if (token == null) {
                throw new Malformed("not_json");
            }
            do {
                if (token.isStructStart()) {
                    deepest = Math.max(deepest, ++depth);
                } else if (token.isStructEnd()) {
                    depth--;
                } else if ((token == JsonToken.FIELD_NAME || token == JsonToken.VALUE_STRING)
                        && hasLoneSurrogate(parser.getText())) {
                    throw new Malformed("not_json");
                }
                token = parser.nextToken();
            } while (depth > 0);
            if (token != null) {
                throw new Malformed("not_json");
            }
        } catch (JacksonException e) {
            throw new Malformed("not_json");
        } catch (IOException e) {
            throw new UncheckedIOException(e); // it reads a string
        }
        if (deepest > MAX_DEPTH && (deepest > DEEPEST_TREE || depth(tree(text)) > MAX_DEPTH)) {
            throw new Malformed("too_deep");
        }
        return text;
    }

    /** The value of a text that has been checked; of a key that stands twice the last counts. */
    static JsonNode tree(String text) {
        try {
            return TREES.readTree(text);
        } catch (JacksonException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** The depth of what counts: 0 for a scalar, 1 for a flat object. */
    private static int depth(JsonNode value) {
        int depth = 0;
        for (List<JsonNode> level = List.of(value); ; depth++) {
            List<JsonNode> inner = new ArrayList<>();
            boolean isDeeper = false;
            for (JsonNode each : level) {
                isDeeper |= each.isContainerNode();
                each.forEach(inner::add);
            }
            if (!isDeeper) {
                return depth;
            }
            level = inner;
        }
    }

    private static boolean hasLoneSurrogate(String text) {
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            if (Character.isSurrogate(c)) {
                boolean pair = Character.isHighSurrogate(c)
                        && i + 1 < text.length()
                        && Character.isLowSurrogate(text.charAt(i + 1));
                if (!pair) {
                    return true;
                }
                i++;
            }
        }
        return false;
    }
}
