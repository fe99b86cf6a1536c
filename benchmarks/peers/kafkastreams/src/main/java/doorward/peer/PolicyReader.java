package doorward.peer;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import doorward.peer.Document.Rule;
import doorward.peer.Document.Verdict;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.Iterator;
import java.util.List;
import java.util.Set;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * Policy documents from plain JSON files, as strict as Doorward, held to the same charter. The first problem ends it.
 *
 * <p>Unsigned documents answer for their text alone: signers, approvers and notice are not asked.
 */
final class PolicyReader {
    /** A document that is not taken; the message names the file and says why. */
    static final class Refused extends Exception {
        private static final long serialVersionUID = 1L;

        Refused(String why) {
            super(why);
        }
    }

    private static final ObjectMapper JSON = new ObjectMapper(
                    JsonFactory.builder().enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION).build())
            .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);
    private static final Set<String> COMMON = Set.of(
            "language", "scope", "name", "revision", "rules", "default", "unknown", "mode", "not_before", "not_after",
            "class", "ground", "reference", "contest", "note", "retracted");
    private static final Set<String> NULLABLE = Set.of("not_before", "not_after", "contest", "note", "reference");
    private static final Set<String> FIELDS =
            Set.of("country", "subdivision", "continent", "asn", "network", "connection", "role", "stage");
    private static final Set<String> OF_SERVICE = Set.of("country", "subdivision", "continent", "connection");
    private static final Set<String> ROLES = Set.of("host", "cohost", "participant", "guest");
    private static final Set<String> STAGES = Set.of("lobby", "live");
    private static final int MAX_NAME = 128;
    private static final int MAX_TEXT = 2_000;
    private static final int MAX_RULES = 10_000;
    private static final int MAX_VALUES = 200_000;
    private static final long DAY = 86_400_000L;
    private static final Pattern SEEN = Pattern.compile("[^\\x{9}-\\x{d}\\x{1c}-\\x{20}\\x{85}\\x{a0}\\x{1680}"
            + "\\x{2000}-\\x{200f}\\x{2028}-\\x{202f}\\x{205f}-\\x{206f}\\x{3000}\\x{0}-\\x{8}\\x{e}-\\x{1b}"
            + "\\x{7f}-\\x{9f}"
            + "\\x{ad}\\x{34f}\\x{61c}\\x{115f}\\x{1160}\\x{17b4}\\x{17b5}\\x{180b}-\\x{180f}\\x{3164}"
            + "\\x{fe00}-\\x{fe0f}"
            + "\\x{feff}\\x{ffa0}\\x{fff0}-\\x{fffb}\\x{1bca0}-\\x{1bca3}\\x{1d173}-\\x{1d17a}\\x{e0000}-\\x{e0fff}"
            + "\\x{2800}]");

    private final Vocabulary vocabulary;

    PolicyReader(Vocabulary vocabulary) {
        this.vocabulary = vocabulary;
    }

    /** An index of every {@code *.json} document of a folder and its subfolders; a file holds one, or an array. */
    Index folder(Path folder) throws IOException, Refused {
        Index index = new Index();
        List<Path> files;
        try (Stream<Path> found = Files.walk(folder)) {
            files = found.filter(file -> file.toString().endsWith(".json")).sorted().toList();
        }
        for (Path file : files) {
            JsonNode root;
            try {
                root = JSON.readTree(Files.readAllBytes(file));
            } catch (com.fasterxml.jackson.core.JacksonException e) {
                throw new Refused(file + ": " + e.getOriginalMessage());
            }
            for (JsonNode each : root.isArray() ? root : List.of(root)) {
                try {
                    index.put(document(each), each);
                } catch (Refused e) {
                    throw new Refused(file + ": " + e.getMessage());
                }
            }
        }
        return index;
    }

    private Document document(JsonNode value) throws Refused {
        check(value.isObject(), "a document is an object");
        JsonNode language = value.path("language");
        check(language.isMissingNode() || language.isInt() && language.intValue() == 1, "language must be 1");
        String scope = one(value, "scope", Set.of("service", "account", "meeting"), null);
        check(scope != null, "scope is required");
        Set<String> allowed = new HashSet<>(COMMON);
        boolean isService = scope.equals("service");
        boolean isMeeting = scope.equals("meeting");
        if (!isService) {
            allowed.add("account");
        }
        if (isMeeting) {
            allowed.add("meeting");
        }
        checkFields(value, allowed, NULLABLE, "");
        String account = isService ? null : name(value, "account");
        String meeting = isMeeting ? name(value, "meeting") : null;
        String name = name(value, "name");
        JsonNode revision = value.path("revision");
        check(revision.isIntegralNumber() && revision.canConvertToLong() && revision.longValue() > 0, "bad revision");
        JsonNode retracted = value.path("retracted");
        check(retracted.isMissingNode() || retracted.isBoolean(), "retracted must be true or false");
        boolean restricts = !retracted.asBoolean(false);
        Verdict ifNone = verdict(value, "default", restricts ? null : Verdict.ADMIT);
        check(ifNone != null, "default is required");
        String path = isService
                ? Document.path(scope, name)
                : isMeeting ? Document.path(scope, account, meeting, name) : Document.path(scope, account, name);
        Set<String> classes = isService ? Set.of("legal", "safety") : Set.of("owner");
        String documentClass = one(value, "class", classes, isService && restricts ? null : classes.iterator().next());
        check(documentClass != null, "class is required");
        text(value, "note", false);
        Rule[] rules = rules(value.path("rules"));
        boolean required = isService && restricts;
        String ground = text(value, "ground", required);
        String reference = text(value, "reference", required);
        String contest = text(value, "contest", false);
        Document made = new Document(
                isService,
                account,
                meeting,
                path,
                revision.longValue(),
                rules,
                ifNone,
                verdict(value, "unknown", isService ? Verdict.ADMIT : Verdict.ALERT),
                one(value, "mode", Set.of("enforce", "report"), "enforce").equals("report"),
                time(value, "not_before", required),
                time(value, "not_after", required),
                documentClass,
                ground,
                reference,
                contest,
                !restricts,
                new Receipts(path, revision.longValue(), documentClass, ground, reference, contest));
        if (restricts && made.notBefore() != null && made.notAfter() != null) {
            check(made.notAfter() > made.notBefore(), "not_after must be later than not_before");
        }
        if (required) {
            charter(made);
        }
        return made;
    }

    /** C2, C4 and C5, as far as a document's own text goes. */
    private static void charter(Document document) throws Refused {
        check(document.ifNone() == Verdict.ADMIT && document.ifUnknown() == Verdict.ADMIT, "C2: must admit by default");
        for (Rule rule : document.rules()) {
            boolean names = false;
            for (Condition condition : rule.conditions()) {
                check(OF_SERVICE.contains(condition.field), "C2: a service document cannot ask for " + condition.field);
                names |= condition.namesTerritory;
            }
            check(names || rule.then() != Verdict.REMOVE, "C4: a service rule that removes must name a territory");
        }
        long length = document.notAfter() - document.notBefore();
        check(length >= 7 * DAY && length <= 366 * DAY, "C5: a service document's window is 7 to 366 days");
    }

    private Rule[] rules(JsonNode listed) throws Refused {
        check(listed.isMissingNode() || listed.isArray() && listed.size() <= MAX_RULES, "rules: no list, or too long");
        List<Rule> rules = new ArrayList<>();
        Set<String> ids = new HashSet<>();
        for (JsonNode value : listed) {
            check(value.isObject(), "a rule is an object");
            checkFields(value, Set.of("id", "when", "then", "note"), Set.of("note"), "rule: ");
            String id = name(value, "id");
            check(ids.add(id), "two rules with id " + id);
            Verdict then = verdict(value, "then", null);
            check(then != null, "then is required");
            rules.add(new Rule(id, when(value.path("when")), then, text(value, "note", false)));
        }
        return rules.toArray(Rule[]::new);
    }

    private Condition[] when(JsonNode when) throws Refused {
        check(when.isMissingNode() || when.isObject() && !when.isEmpty(), "when must name at least one condition");
        List<Condition> conditions = new ArrayList<>();
        for (Iterator<String> fields = when.fieldNames(); fields.hasNext(); ) {
            String field = fields.next();
            check(FIELDS.contains(field), "this peer knows no condition " + field);
            JsonNode listed = when.get(field);
            boolean negated = listed.isObject();
            if (negated) {
                check(listed.size() == 1 && listed.has("not"), field + ": must be a list, or {\"not\": [...]}");
                listed = listed.get("not");
            }
            check(listed.isArray() && !listed.isEmpty() && listed.size() <= MAX_VALUES, field + ": must be a list");
            List<String> values = new ArrayList<>(listed.size());
            for (JsonNode value : listed) {
                check(isKnown(field, value), field + ": " + value + " is not known");
                values.add(value.asText());
            }
            conditions.add(new Condition(field, values, negated, vocabulary));
        }
        return conditions.toArray(Condition[]::new);
    }

    private boolean isKnown(String field, JsonNode value) {
        if (field.equals("asn")) {
            return value.isIntegralNumber()
                    && value.canConvertToLong()
                    && value.longValue() >= 0
                    && value.longValue() < 1L << 32;
        }
        String text = value.textValue();
        return text != null
                && switch (field) {
                    case "country" -> vocabulary.countries.contains(text);
                    case "subdivision" -> vocabulary.subdivisions.contains(text);
                    case "continent" -> vocabulary.continents.contains(text);
                    case "network" -> Addresses.network(text) != null;
                    case "connection" -> List.of(Facts.Place.CONNECTIONS).contains(text);
                    case "role" -> ROLES.contains(text);
                    default -> STAGES.contains(text);
                };
    }

    // -- scalars --------------------------------------------------------------------------------------------------

    private static void checkFields(JsonNode value, Set<String> allowed, Set<String> nullable, String where)
            throws Refused {
        for (Iterator<String> fields = value.fieldNames(); fields.hasNext(); ) {
            String field = fields.next();
            check(allowed.contains(field), where + "there is no field " + field);
            check(!value.get(field).isNull() || nullable.contains(field), where + field + " must not be null");
        }
    }

    private static String name(JsonNode value, String field) throws Refused {
        String text = value.path(field).textValue();
        check(text != null && !text.isEmpty() && text.codePointCount(0, text.length()) <= MAX_NAME, "bad " + field);
        check(StandardCharsets.UTF_8.newEncoder().canEncode(text), field + " holds a lone surrogate");
        return text;
    }

    private static String text(JsonNode value, String field, boolean required) throws Refused {
        JsonNode node = value.path(field);
        if (node.isMissingNode() || node.isNull()) {
            check(!required, field + " is required of a service document");
            return null;
        }
        String text = node.textValue();
        check(text != null && text.codePointCount(0, text.length()) <= MAX_TEXT, field + " must be a shorter string");
        check(StandardCharsets.UTF_8.newEncoder().canEncode(text), field + " holds a lone surrogate");
        check(SEEN.matcher(text).find(), field + " must not be blank");
        return text;
    }

    private static Long time(JsonNode value, String field, boolean required) throws Refused {
        String text = text(value, field, required);
        if (text == null) {
            return null;
        }
        long at = Rfc3339.ofDocument(text);
        check(at != Rfc3339.NONE, field + " is no RFC 3339 time with an offset");
        return at;
    }

    private static Verdict verdict(JsonNode value, String field, Verdict otherwise) throws Refused {
        String word = one(value, field, Set.of("admit", "alert", "remove"), null);
        return word == null ? otherwise : Verdict.valueOf(word.toUpperCase(java.util.Locale.ROOT));
    }

    private static String one(JsonNode value, String field, Set<String> allowed, String otherwise) throws Refused {
        JsonNode node = value.path(field);
        if (node.isMissingNode()) {
            return otherwise;
        }
        check(node.isTextual() && allowed.contains(node.textValue()), field + " must be one of " + allowed);
        return node.textValue();
    }

    private static void check(boolean holds, String otherwise) throws Refused {
        if (!holds) {
            throw new Refused(otherwise);
        }
    }
}
