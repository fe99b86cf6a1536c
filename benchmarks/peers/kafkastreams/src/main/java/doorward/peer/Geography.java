package doorward.peer;

import com.maxmind.db.CHMCache;
import com.maxmind.db.Reader;
import java.io.File;
import java.io.IOException;
import java.net.InetAddress;
import java.nio.file.Files;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.time.Instant;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Facts of addresses, from one country or city file in MaxMind's layout or a flat one. One thread only.
 *
 * <p>Two caches, as in Doorward: of facts by the event's text, and of what lies in a place by record.
 */
final class Geography {
    private static final int CACHED = 65_536;

    /** The file's name, build day and digest, as decisions state it. */
    final String build;
    /** Build time, Unix seconds. */
    final long time;

    private final Reader reader;
    private final boolean answersSix;
    private final Vocabulary vocabulary;
    private final Map<Map<?, ?>, Facts.Place> places = lru(4_096);
    private final Map<String, Facts> byText = lru(CACHED);

    Geography(File file, Vocabulary vocabulary) throws IOException, GeneralSecurityException {
        byte[] digest = MessageDigest.getInstance("SHA-256").digest(Files.readAllBytes(file.toPath()));
        this.reader = new Reader(file, Reader.FileMode.MEMORY, new CHMCache());
        this.vocabulary = vocabulary;
        this.answersSix = reader.getMetadata().ipVersion() == 6;
        String type = reader.getMetadata().databaseType();
        if (type.contains("Anonymous") || type.contains("ASN")) {
            throw new IOException(file + ": " + type + " is no country or city file; this peer reads no other");
        }
        Instant built = reader.getMetadata().buildTime();
        this.time = built.getEpochSecond();
        String stem = file.getName().replaceFirst("\\.[^.]*$", "");
        String stamp = "-" + built.toString().substring(0, 10) + "-" + HexFormat.of().formatHex(digest, 0, 4);
        this.build = (stem.endsWith(stamp) ? stem.substring(0, stem.length() - stamp.length()) : stem) + stamp;
    }

    private static <K, V> Map<K, V> lru(int most) {
        return new LinkedHashMap<>(most * 2, 0.75f, true) {
            private static final long serialVersionUID = 1L;

            @Override
            protected boolean removeEldestEntry(Map.Entry<K, V> eldest) {
                return size() > most;
            }
        };
    }

    /** The facts of an address as the event wrote it; those without an address for text that is none. */
    Facts locate(String text) {
        Facts facts = byText.get(text);
        if (facts == null) {
            byte[] packed = Addresses.parse(text);
            facts = packed == null ? Facts.NOTHING : new Facts(packed, place(packed));
            byText.put(text, facts);
        }
        return facts;
    }

    /** What the file says of a packed address. */
    Facts.Place place(byte[] packed) {
        if (packed.length == 16 && !answersSix) {
            return Facts.Place.NOWHERE;
        }
        Map<?, ?> found;
        try {
            found = reader.get(InetAddress.getByAddress(packed), Map.class);
        } catch (IOException e) { // damage: nothing is known
            return Facts.Place.NOWHERE;
        }
        return found == null ? Facts.Place.NOWHERE : places.computeIfAbsent(found, this::read);
    }

    /** A record's country, subdivision and continent; codes outside the vocabulary give nothing (rulings 1-4, 8). */
    private Facts.Place read(Map<?, ?> found) {
        String country =
                known(vocabulary.countries, inner(found.get("country"), "iso_code"), found.get("country_code"));
        String continent = known(
                vocabulary.continents,
                inner(found.get("continent"), "code"),
                found.get("continent_code"),
                found.get("continent"));
        String subdivision = subdivision(found, country);
        if (subdivision != null) {
            String whole = subdivision.substring(0, 2);
            if (country == null && vocabulary.countries.contains(whole)) {
                country = whole;
            }
            if (!whole.equals(country)) {
                subdivision = null;
            }
        }
        if (country != null && continent == null) {
            continent = vocabulary.continentOf.get(country);
        }
        return new Facts.Place(country, subdivision, continent, null, Facts.Place.ANY);
    }

    private String subdivision(Map<?, ?> found, String country) {
        boolean isListed = found.get("subdivisions") instanceof List<?> list && !list.isEmpty();
        Object widest = isListed ? inner(((List<?>) found.get("subdivisions")).get(0), "iso_code") : null;
        Object[] codes = {widest, found.get("state1"), found.get("region"), found.get("subdivision")};
        for (Object code : codes) {
            String subdivision = code == null ? null : known(vocabulary.subdivisions, code, country + "-" + code);
            if (subdivision != null) {
                return subdivision;
            }
        }
        return null;
    }

    private static Object inner(Object place, String key) {
        return place instanceof Map<?, ?> map ? map.get(key) : null;
    }

    private static String known(Set<String> codes, Object... values) {
        for (Object value : values) {
            if (value instanceof String code && codes.contains(code)) {
                return code.intern();
            }
        }
        return null;
    }
}
