package doorward.peer;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedOutputStream;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/**
 * Answers lines of CloudEvents without a broker, as {@code doorward decide --report} does, for the verifier.
 *
 * <p>A line may also be {@code {"event": {...}, "at": MS, "facts": {...}}}: decided at an instant, on given facts.
 */
final class Offline {
    private static final ObjectMapper JSON = new ObjectMapper();

    private Offline() {}

    static void decide(Decider decider, Path file, PrintStream printed) throws IOException {
        try (BufferedReader lines = Files.newBufferedReader(file, StandardCharsets.ISO_8859_1);
                OutputStream out = new BufferedOutputStream(printed, 1 << 16)) {
            int number = 0;
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                number++;
                // Bytes as they are: ISO 8859-1 takes each for a character, so that what is no UTF-8 stays so.
                byte[] raw = line.getBytes(StandardCharsets.ISO_8859_1);
                if (raw.length > 0) {
                    answer(decider, raw, number, out);
                }
            }
        }
    }

    private static void answer(Decider decider, byte[] line, int number, OutputStream out) throws IOException {
        byte[] raw = line;
        long at = System.currentTimeMillis();
        JsonNode given = null;
        if (new String(line, 0, Math.min(9, line.length), StandardCharsets.ISO_8859_1).equals("{\"event\":")) {
            JsonNode wrapped = JSON.readTree(line);
            raw = JSON.writeValueAsBytes(wrapped.get("event"));
            at = wrapped.path("at").asLong(at);
            given = wrapped.get("facts");
        }
        Event event;
        try {
            event = EventReader.read(raw, List.of());
        } catch (Malformed e) {
            String letter = "{\"dead_letter\":\"" + e.getMessage() + "\",\"line\":" + number + "}\n";
            out.write(letter.getBytes(StandardCharsets.US_ASCII));
            return;
        }
        if (event.kind == Event.Kind.LEAVE) {
            return;
        }
        Facts facts = given == null ? decider.geography.locate(event.address) : facts(given);
        String subject = Document.path(event.account, event.meeting, event.participation);
        Decider.Answer answer = decider.answer(event, subject, facts, number, at);
        boolean isBad = given == null && facts.address() == null;
        write(out, answer.decision(), isBad ? ",\"dead_letter\":\"bad_address\"" : "");
        if (answer.report() != null) {
            write(out, answer.report(), ",\"report\":true");
        }
    }

    private static void write(OutputStream out, byte[] decision, String member) throws IOException {
        out.write(decision, 0, decision.length - 1);
        out.write((member + "}\n").getBytes(StandardCharsets.US_ASCII));
    }

    private static Facts facts(JsonNode given) {
        JsonNode asn = given.path("asn");
        Facts.Place place = new Facts.Place(
                given.path("country").textValue(),
                given.path("subdivision").textValue(),
                given.path("continent").textValue(),
                asn.isNumber() ? asn.longValue() : null,
                given.path("connection").asInt(Facts.Place.ANY));
        String address = given.path("address").textValue();
        return new Facts(address == null ? null : Addresses.parse(address), place);
    }
}
