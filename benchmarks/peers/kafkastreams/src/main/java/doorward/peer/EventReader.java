package doorward.peer;

import com.fasterxml.jackson.core.JacksonException;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.Locale;
import org.apache.kafka.common.header.Header;

/**
 * Records of {@code joins} to events: CloudEvents 1.0, structured or binary.
 *
 * <p>A plain record is read in one streaming pass. Anything else, and anything that fails, takes the slow way, which
 * finds the reason in ruling 26's order.
 */
final class EventReader {
    private static final int MAX_BYTES = 1 << 20;
    private static final String CONTENT_TYPE = "application/cloudevents+json";

    private EventReader() {}

    /** The event in a record. */
    static Event read(byte[] value, Iterable<Header> headers) throws Malformed {
        if (value == null) {
            throw new Malformed("not_json");
        }
        if (value.length > MAX_BYTES) {
            throw new Malformed("too_large");
        }
        if (headers.iterator().hasNext()) {
            ObjectNode envelope = binary(headers);
            if (envelope != null) {
                envelope.set("data", StrictJson.tree(StrictJson.check(value)));
                return slow(envelope);
            }
        }
        if (StrictJson.isPlain(value)) {
            try (JsonParser parser = StrictJson.FACTORY.createParser(value)) {
                Event event = plain(parser);
                if (event != null) {
                    return event;
                }
            } catch (JacksonException e) {
                // The slow way says what it is.
            } catch (IOException e) {
                throw new UncheckedIOException(e); // it reads an array
            }
        }
        return slow(StrictJson.tree(StrictJson.check(value)));
    }

    // -- one streaming pass ---------------------------------------------------------------------------------------

    /** The event, or null where something may be wrong. */
    private static Event plain(JsonParser parser) throws IOException {
        if (parser.nextToken() != JsonToken.START_OBJECT) {
            return null;
        }
        Event event = new Event();
        boolean hasVersion = false;
        boolean hasData = false;
        for (String name = parser.nextFieldName(); name != null; name = parser.nextFieldName()) {
            boolean fine = true;
            switch (name) {
                case "specversion" -> fine = hasVersion = "1.0".equals(parser.nextTextValue());
                case "type" -> {
                    String type = parser.nextTextValue();
                    event.kind = type == null ? null : Event.Kind.of(type);
                    fine = event.kind != null;
                }
                case "source" -> fine = isText(event.source = parser.nextTextValue());
                case "id" -> fine = isText(event.id = parser.nextTextValue());
                case "time" -> fine = time(parser, event);
                case "data" -> fine = hasData = data(parser, event);
                default -> skip(parser);
            }
            if (!fine) {
                return null;
            }
        }
        if (parser.currentToken() != JsonToken.END_OBJECT || parser.nextToken() != null) {
            return null;
        }
        boolean complete = hasVersion && hasData && event.kind != null && event.source != null && event.id != null;
        complete = complete && event.meeting != null && event.account != null && event.participation != null;
        return complete && (event.address != null || event.kind == Event.Kind.LEAVE) ? event.normalised() : null;
    }

    private static boolean time(JsonParser parser, Event event) throws IOException {
        event.time = null;
        String text = parser.nextTextValue();
        if (text == null) {
            return parser.currentToken() == JsonToken.VALUE_NULL;
        }
        long time = Rfc3339.ofEvent(text);
        event.time = time;
        return time != Rfc3339.NONE;
    }

    private static boolean data(JsonParser parser, Event event) throws IOException {
        if (parser.nextToken() != JsonToken.START_OBJECT) {
            return false;
        }
        event.clearData();
        for (String name = parser.nextFieldName(); name != null; name = parser.nextFieldName()) {
            boolean fine = true;
            switch (name) {
                case "meeting" -> fine = isId(event.meeting = parser.nextTextValue());
                case "account" -> fine = isId(event.account = parser.nextTextValue());
                case "participation" -> fine = isId(event.participation = parser.nextTextValue());
                case "address" -> fine = (event.address = parser.nextTextValue()) != null;
                case "role" -> {
                    event.role = parser.nextTextValue();
                    fine = event.role == null ? parser.currentToken() == JsonToken.VALUE_NULL : isRole(event.role);
                }
                case "stage" -> {
                    event.stage = parser.nextTextValue();
                    fine = event.stage == null ? parser.currentToken() == JsonToken.VALUE_NULL : isStage(event.stage);
                }
                case "sequence" -> {
                    JsonToken token = parser.nextToken();
                    event.sequence = null;
                    if (token == JsonToken.VALUE_NUMBER_INT) {
                        fine = parser.getNumberType() != JsonParser.NumberType.BIG_INTEGER;
                        event.sequence = fine ? parser.getLongValue() : null;
                    } else {
                        fine = token == JsonToken.VALUE_NULL;
                    }
                }
                default -> skip(parser);
            }
            if (!fine) {
                return false;
            }
        }
        return parser.currentToken() == JsonToken.END_OBJECT;
    }

    /** Passes over a value; one in which there is another container may be too deep, which is not looked at here. */
    private static void skip(JsonParser parser) throws IOException {
        if (parser.nextToken().isStructStart()) {
            int depth = 1;
            while (depth > 0) {
                JsonToken token = parser.nextToken();
                depth += token.isStructStart() ? 1 : token.isStructEnd() ? -1 : 0;
                if (depth > 16) {
                    throw new com.fasterxml.jackson.core.JsonParseException(parser, "deep");
                }
            }
        }
    }

    // -- the slow way ---------------------------------------------------------------------------------------------

    private static Event slow(JsonNode root) throws Malformed {
        check(root.isObject());
        check("1.0".equals(root.path("specversion").textValue()));
        Event event = new Event();
        String type = root.path("type").textValue();
        event.source = root.path("source").textValue();
        event.id = root.path("id").textValue();
        check(isText(type) && isText(event.source) && isText(event.id));
        JsonNode time = root.path("time");
        if (!time.isMissingNode() && !time.isNull()) {
            event.time = time.isTextual() ? Rfc3339.ofEvent(time.textValue()) : Rfc3339.NONE;
            check(event.time != Rfc3339.NONE);
        }
        event.kind = Event.Kind.of(type);
        if (event.kind == null) {
            throw new Malformed("unknown_type");
        }
        JsonNode data = root.path("data");
        check(data.isObject());
        event.meeting = data.path("meeting").textValue();
        event.account = data.path("account").textValue();
        event.participation = data.path("participation").textValue();
        check(isId(event.meeting) && isId(event.account) && isId(event.participation));
        JsonNode sequence = data.path("sequence");
        if (!sequence.isMissingNode() && !sequence.isNull()) {
            check(sequence.isIntegralNumber() && sequence.canConvertToLong());
            event.sequence = sequence.longValue();
        }
        if (event.kind != Event.Kind.LEAVE) {
            event.address = data.path("address").textValue();
            check(event.address != null);
            event.role = optional(data.path("role"));
            event.stage = optional(data.path("stage"));
            check((event.role == null || isRole(event.role)) && (event.stage == null || isStage(event.stage)));
        }
        return event.normalised();
    }

    private static String optional(JsonNode node) throws Malformed {
        check(node.isMissingNode() || node.isNull() || node.isTextual());
        return node.textValue();
    }

    /** The envelope in {@code ce_} headers, or null in structured mode. */
    private static ObjectNode binary(Iterable<Header> headers) throws Malformed {
        ObjectNode envelope = JsonNodeFactory.instance.objectNode();
        for (Header header : headers) {
            String name = header.key().toLowerCase(Locale.ROOT);
            if (header.value() == null) {
                continue;
            }
            if (name.equals("content-type")) {
                String type = new String(header.value(), StandardCharsets.ISO_8859_1).toLowerCase(Locale.ROOT);
                if (type.startsWith(CONTENT_TYPE)) {
                    return null;
                }
            } else if (name.startsWith("ce_")) {
                envelope.put(name.substring(3), new String(header.value(), StandardCharsets.UTF_8));
            }
        }
        return envelope.isEmpty() ? null : envelope;
    }

    // -- what a value may be --------------------------------------------------------------------------------------

    private static void check(boolean holds) throws Malformed {
        if (!holds) {
            throw new Malformed("schema");
        }
    }

    private static boolean isText(String text) {
        return text != null && !text.isEmpty();
    }

    private static boolean isId(String text) {
        return isText(text) && (text.length() <= 128 || text.codePointCount(0, text.length()) <= 128);
    }

    private static boolean isRole(String role) {
        return switch (role) {
            case "host", "cohost", "participant", "guest" -> true;
            default -> false;
        };
    }

    private static boolean isStage(String stage) {
        return stage.equals("live") || stage.equals("lobby");
    }
}
