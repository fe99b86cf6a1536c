package doorward.peer;

import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.time.Duration;
import java.util.Locale;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.processor.UsePartitionTimeOnInvalidTimestamp;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.Stores;

/**
 * Doorward's decisions on Kafka Streams: {@code joins} to {@code DECISIONS}, configured by the environment (README.md).
 *
 * <p>{@code --decide FILE} answers the lines of a file instead, without a broker.
 */
public final class Peer {
    private static final String INPUT = "joins";
    private static final String OVERRIDE = "STREAMS_";

    private Peer() {}

    /** Runs until SIGTERM; exit 1 when a stream thread fails, 2 when something needed cannot be read. */
    public static void main(String[] arguments) throws Exception {
        try {
            if (arguments.length == 2 && arguments[0].equals("--decide")) {
                Offline.decide(decider(true), Path.of(arguments[1]), System.out);
            } else {
                run();
            }
        } catch (PolicyReader.Refused | IOException | GeneralSecurityException | IllegalArgumentException e) {
            System.err.println(e);
            System.exit(2);
        }
    }

    private static String required(String name) {
        String value = System.getenv(name);
        if (value == null) {
            throw new IllegalArgumentException(name + " is not set");
        }
        return value;
    }

    private static Decider decider(boolean isOffline) throws Exception {
        Vocabulary vocabulary = Vocabulary.read(Path.of(required("VOCABULARY")));
        Index index = new PolicyReader(vocabulary).folder(Path.of(required("POLICIES")));
        Geography geography = new Geography(new File(required("GEO")), vocabulary);
        return new Decider(index, geography, isOffline, isOffline || System.getenv("REPORTS") != null);
    }

    private static void run() throws Exception {
        String sessions = System.getenv("SESSIONS");
        Sealer sealer = sessions == null ? null : Sealer.read(Path.of(required("DOORWARD_SEAL_KEYS")));
        Path folder = sessions == null ? Files.createTempDirectory("doorward-streams-") : Path.of(sessions);
        KafkaStreams streams = new KafkaStreams(topology(decider(false), sealer), properties(folder));
        CountDownLatch stopped = new CountDownLatch(1);
        streams.setUncaughtExceptionHandler(failure -> {
            failure.printStackTrace();
            return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        streams.setStateListener((now, before) -> {
            if (now == KafkaStreams.State.ERROR) {
                stopped.countDown();
            }
        });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            streams.close(Duration.ofSeconds(20));
            System.err.println("skipped " + JoinsProcessor.skipped());
        }));
        streams.start();
        stopped.await();
        System.exit(1);
    }

    private static Topology topology(Decider decider, Sealer sealer) {
        Topology topology = new Topology();
        ByteArrayDeserializer reader = new ByteArrayDeserializer();
        ByteArraySerializer writer = new ByteArraySerializer();
        topology.addSource(INPUT, reader, reader, INPUT);
        topology.addProcessor("decide", () -> new JoinsProcessor(decider, sealer), INPUT);
        topology.addSink(JoinsProcessor.DECISIONS, required("DECISIONS"), writer, writer, "decide");
        if (System.getenv("REPORTS") != null) {
            topology.addSink(JoinsProcessor.REPORTS, System.getenv("REPORTS"), writer, writer, "decide");
        }
        if (sealer != null) {
            StoreBuilder<KeyValueStore<Bytes, byte[]>> store = Stores.keyValueStoreBuilder(
                    Stores.persistentKeyValueStore(JoinsProcessor.STORE), Serdes.Bytes(), Serdes.ByteArray());
            topology.addStateStore(store.withCachingDisabled().withLoggingEnabled(Map.of()), "decide");
        }
        return topology;
    }

    /** The settings; {@code STREAMS_PRODUCER_LINGER_MS=0} in the environment sets {@code producer.linger.ms}. */
    private static Properties properties(Path folder) {
        Properties properties = new Properties();
        properties.put(StreamsConfig.APPLICATION_ID_CONFIG, required("DOORWARD_GROUP"));
        properties.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, required("DOORWARD_KAFKA_BOOTSTRAP"));
        properties.put(StreamsConfig.STATE_DIR_CONFIG, folder.toString());
        properties.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, "1");
        properties.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.AT_LEAST_ONCE);
        properties.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, "500");
        properties.put(StreamsConfig.ROCKSDB_CONFIG_SETTER_CLASS_CONFIG, RocksSettings.class);
        properties.put(
                StreamsConfig.DEFAULT_TIMESTAMP_EXTRACTOR_CLASS_CONFIG, UsePartitionTimeOnInvalidTimestamp.class);
        properties.put(StreamsConfig.producerPrefix("acks"), "all");
        properties.put(StreamsConfig.producerPrefix("linger.ms"), "100");
        properties.put(StreamsConfig.producerPrefix("batch.size"), Integer.toString(256 << 10));
        properties.put(StreamsConfig.producerPrefix("buffer.memory"), Long.toString(64L << 20));
        properties.put(StreamsConfig.ENABLE_METRICS_PUSH_CONFIG, "false");
        System.getenv().forEach((name, value) -> {
            if (name.startsWith(OVERRIDE)) {
                String key = name.substring(OVERRIDE.length()).toLowerCase(Locale.ROOT).replace('_', '.');
                properties.put(key, value);
            }
        });
        return properties;
    }
}
