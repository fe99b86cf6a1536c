package doorward.peer;

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Arrays;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.LongAdder;
import org.apache.kafka.common.header.Headers;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.streams.processor.PunctuationType;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;

/** Decides each join of one partition; with a sealer it remembers participations too. */
final class JoinsProcessor implements Processor<byte[], byte[], byte[], byte[]> {
    static final String STORE = "sessions";
    static final String DECISIONS = "decisions";
    static final String REPORTS = "reports";

    private static final Headers HEADERS = new RecordHeaders()
            .add("content-type", "application/cloudevents+json".getBytes(StandardCharsets.US_ASCII));
    private static final Duration LOOK = Duration.ofSeconds(5);
    private static final int ROWS = 2_000;
    private static final Map<String, LongAdder> SKIPPED = new ConcurrentHashMap<>();

    private final Decider decider;
    private final Sealer sealer;
    private ProcessorContext<byte[], byte[]> context;
    private SessionKeeper keeper;

    /**
     * @param decider shared by all tasks: there is one stream thread
     * @param sealer likewise; null: nothing is remembered
     */
    JoinsProcessor(Decider decider, Sealer sealer) {
        this.decider = decider;
        this.sealer = sealer;
    }

    /** How many records were skipped, by dead letters' reason. */
    static Map<String, Long> skipped() {
        Map<String, Long> counts = new TreeMap<>();
        SKIPPED.forEach((reason, count) -> counts.put(reason, count.sum()));
        return counts;
    }

    @Override
    public void init(ProcessorContext<byte[], byte[]> context) {
        this.context = context;
        if (sealer != null) {
            keeper = new SessionKeeper(context.taskId().partition(), decider, sealer, context.getStateStore(STORE));
            context.schedule(LOOK, PunctuationType.WALL_CLOCK_TIME, now -> keeper.expire(now, ROWS));
        }
    }

    @Override
    public void process(Record<byte[], byte[]> record) {
        try {
            Event event = EventReader.read(record.value(), record.headers());
            if (!Arrays.equals(record.key(), event.meeting.getBytes(StandardCharsets.UTF_8))) {
                throw new Malformed("key_mismatch");
            }
            long offset = context.recordMetadata().orElseThrow().offset();
            long now = context.currentSystemTimeMs();
            if (event.kind != Event.Kind.LEAVE) {
                forward(record, answer(event, offset, now));
            } else if (keeper != null) {
                keeper.leave(event, offset, now);
            }
        } catch (Malformed e) {
            SKIPPED.computeIfAbsent(e.getMessage(), reason -> new LongAdder()).increment();
        }
    }

    private Decider.Answer answer(Event event, long offset, long now) throws Malformed {
        if (keeper != null) {
            return keeper.join(event, offset, now);
        }
        String subject = Document.path(event.account, event.meeting, event.participation);
        return decider.answer(event, subject, decider.geography.locate(event.address), offset, now);
    }

    private void forward(Record<byte[], byte[]> record, Decider.Answer answer) {
        context.forward(new Record<>(record.key(), answer.decision(), record.timestamp(), HEADERS), DECISIONS);
        if (answer.report() != null) {
            context.forward(new Record<>(record.key(), answer.report(), record.timestamp(), HEADERS), REPORTS);
        }
    }
}
