package doorward.peer;

import com.fasterxml.jackson.core.JsonFactoryBuilder;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.io.SerializedString;
import doorward.peer.Document.Verdict;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.time.Instant;
import java.util.List;
import java.util.Map;

/** Decisions as CloudEvents in JSON. One thread only: one generator writes them all, one root value after another. */
final class DecisionWriter {
    static final String ENGINE = "kafka-streams";

    private static final SerializedString SPECVERSION = new SerializedString("specversion");
    private static final SerializedString VERSION = new SerializedString("1.0");
    private static final SerializedString TYPE = new SerializedString("type");
    private static final SerializedString SOURCE = new SerializedString("source");
    private static final SerializedString DOORWARD = new SerializedString("doorward");
    private static final SerializedString ID = new SerializedString("id");
    private static final SerializedString TIME = new SerializedString("time");
    private static final SerializedString SUBJECT = new SerializedString("subject");
    private static final SerializedString DATA = new SerializedString("data");
    private static final SerializedString MEETING = new SerializedString("meeting");
    private static final SerializedString ACCOUNT = new SerializedString("account");
    private static final SerializedString PARTICIPATION = new SerializedString("participation");
    private static final SerializedString STAGE = new SerializedString("stage");
    private static final SerializedString VERDICT = new SerializedString("verdict");
    private static final SerializedString CAUSE = new SerializedString("cause");
    private static final SerializedString EVENT = new SerializedString("event");
    private static final SerializedString REASON = new SerializedString("reason");
    private static final SerializedString POLICY = new SerializedString("policy");
    private static final SerializedString REVISION = new SerializedString("revision");
    private static final SerializedString RULE = new SerializedString("rule");
    private static final SerializedString OUTCOME = new SerializedString("outcome");
    private static final SerializedString CLASS = new SerializedString("class");
    private static final SerializedString HOLDER = new SerializedString("holder");
    private static final SerializedString MATCHED = new SerializedString("matched");
    private static final SerializedString RECEIPT = new SerializedString("receipt");
    private static final SerializedString POLICIES = new SerializedString("policies");
    private static final SerializedString POLICY_OFFSET = new SerializedString("policy_offset");
    private static final SerializedString GEO_BUILD = new SerializedString("geo_build");
    private static final SerializedString ORDER = new SerializedString("order");
    private static final SerializedString DECIDED_AT = new SerializedString("decided_at");
    private static final SerializedString ENGINE_NAME = new SerializedString("engine");

    /** Whom a decision is about: the event's own data, or the session's where a late event is answered from it. */
    record About(String account, String meeting, String participation, String subject, String role, String stage) {}

    private final ByteArrayOutputStream bytes = new ByteArrayOutputStream(4096);
    private final JsonGenerator json;
    private final DecisionIds ids = new DecisionIds();
    private final String geoBuild;
    private long renderedAt = Long.MIN_VALUE;
    private String rendered;

    DecisionWriter(String geoBuild) throws IOException {
        this.geoBuild = geoBuild;
        this.json = new JsonFactoryBuilder().rootValueSeparator("").build().createGenerator(bytes);
    }

    /**
     * A decision's bytes.
     *
     * @param mode {@code enforce} or {@code report}
     * @param offset of the participation's newest event
     * @param geoTime of the geo files it ranks by, Unix seconds
     * @param at the instant it was decided at, ms since the epoch
     */
    byte[] write(
            String mode,
            Event event,
            About about,
            Facts facts,
            Judgement judgement,
            long offset,
            long geoTime,
            long at) {
        try {
            bytes.reset();
            decision(mode, event, about, facts, judgement, offset, geoTime, at);
            json.flush();
            return bytes.toByteArray();
        } catch (IOException e) {
            throw new java.io.UncheckedIOException(e); // it writes to memory
        }
    }

    private void decision(
            String mode,
            Event event,
            About about,
            Facts facts,
            Judgement judgement,
            long offset,
            long geoTime,
            long at)
            throws IOException {
        Verdict verdict = judgement.verdict;
        String id = ids.of(mode, about.account, about.meeting, about.participation, event, verdict);
        String time = time(at);
        json.writeStartObject();
        write(SPECVERSION, VERSION);
        write(TYPE, verdict.eventType);
        write(SOURCE, DOORWARD);
        write(ID, id);
        write(TIME, time);
        write(SUBJECT, about.subject);
        json.writeFieldName(DATA);
        json.writeStartObject();
        write(MEETING, about.meeting);
        write(ACCOUNT, about.account);
        write(PARTICIPATION, about.participation);
        write(STAGE, about.stage);
        write(VERDICT, verdict.word);
        write(CAUSE, event.kind.cause);
        json.writeFieldName(EVENT);
        json.writeStartObject();
        write(SOURCE, event.source);
        write(ID, event.id);
        json.writeEndObject();
        reason(judgement, about, facts);
        if (verdict == Verdict.REMOVE) {
            receipt(id, judgement.document.receipts().of(judgement.rule, judgement.outcome, about.stage));
        }
        json.writeFieldName(POLICIES);
        json.writeStartObject();
        for (Document each : judgement.applied) {
            json.writeNumberField(each.path(), each.revision());
        }
        json.writeEndObject();
        write(POLICY_OFFSET, 0);
        write(GEO_BUILD, geoBuild);
        json.writeFieldName(ORDER);
        json.writeStartArray();
        json.writeNumber(offset);
        json.writeNumber(0);
        json.writeNumber(geoTime);
        json.writeNumber(at);
        json.writeEndArray();
        write(DECIDED_AT, time);
        write(ENGINE_NAME, ENGINE);
        json.writeEndObject();
        json.writeEndObject();
    }

    private void reason(Judgement judgement, About about, Facts facts) throws IOException {
        json.writeFieldName(REASON);
        if (!judgement.hasReason()) {
            json.writeNull();
            return;
        }
        Document document = judgement.document;
        json.writeStartObject();
        write(POLICY, document.path());
        write(REVISION, document.revision());
        write(RULE, judgement.rule == null ? null : judgement.rule.id());
        write(OUTCOME, judgement.outcome.word);
        write(CLASS, document.documentClass());
        write(HOLDER, (String) null);
        json.writeFieldName(MATCHED);
        json.writeStartObject();
        if (judgement.tellsFacts()) {
            for (Condition condition : judgement.rule.conditions()) {
                matched(condition.field, about, facts);
            }
        }
        json.writeEndObject();
        json.writeEndObject();
    }

    private void matched(String field, About about, Facts facts) throws IOException {
        Facts.Place place = facts.place();
        json.writeFieldName(field);
        switch (field) {
            case "country" -> json.writeString(place.country());
            case "subdivision" -> json.writeString(place.subdivision());
            case "continent" -> json.writeString(place.continent());
            case "asn" -> {
                if (place.asn() == null) {
                    json.writeNull();
                } else {
                    json.writeNumber(place.asn());
                }
            }
            case "network" -> json.writeBoolean(true);
            case "connection" -> json.writeString(place.knownConnection());
            case "role" -> json.writeString(about.role);
            default -> json.writeString(about.stage);
        }
    }

    private void receipt(String id, Receipts.Receipt receipt) throws IOException {
        json.writeFieldName(RECEIPT);
        json.writeStartObject();
        write(ID, id);
        json.writeStringField("person", receipt.person()[0] + id + receipt.person()[1]);
        json.writeStringField("host", receipt.host()[0] + id + receipt.host()[1]);
        json.writeNumberField("status", receipt.status());
        json.writeStringField("contest", receipt.contest());
        json.writeStringField("reference", receipt.reference());
        json.writeNullField("document");
        json.writeStringField("written_in", "en");
        json.writeObjectFieldStart("messages");
        words("person", receipt.personMessages());
        words("host", receipt.hostMessages());
        json.writeEndObject();
        json.writeObjectFieldStart("parameters");
        json.writeStringField("decision", id);
        for (Map.Entry<String, String> each : receipt.parameters().entrySet()) {
            json.writeStringField(each.getKey(), each.getValue());
        }
        json.writeEndObject();
        json.writeEndObject();
    }

    private void words(String name, List<String> words) throws IOException {
        json.writeArrayFieldStart(name);
        for (String word : words) {
            json.writeString(word);
        }
        json.writeEndArray();
    }

    private void write(SerializedString name, SerializedString value) throws IOException {
        json.writeFieldName(name);
        json.writeString(value);
    }

    private void write(SerializedString name, String value) throws IOException {
        json.writeFieldName(name);
        json.writeString(value);
    }

    private void write(SerializedString name, long value) throws IOException {
        json.writeFieldName(name);
        json.writeNumber(value);
    }

    /** UTC with three digits; many decisions share a millisecond. */
    private String time(long at) {
        if (at != renderedAt) {
            String text = Instant.ofEpochMilli(at).toString();
            // Instant leaves out a fraction of none.
            rendered = text.length() == 20 ? text.substring(0, 19) + ".000Z" : text;
            renderedAt = at;
        }
        return rendered;
    }
}
