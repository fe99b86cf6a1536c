package doorward.peer;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;

/** The codes that documents may name and data may give: the edition of ISO 3166 that the caller uses. */
final class Vocabulary {
    final Set<String> countries = new HashSet<>();
    final Set<String> subdivisions = new HashSet<>();
    final Map<String, String> continentOf = new HashMap<>();
    final Set<String> continents = new HashSet<>();
    private final Map<String, Set<String>> byContinent = new HashMap<>();
    private final Map<String, Set<String>> byCountry = new HashMap<>();

    /** Reads {@code {"countries": {"AD": "EU", ...}, "subdivisions": ["AD-02", ...]}}, country to continent. */
    static Vocabulary read(Path file) throws IOException {
        JsonNode root = new ObjectMapper().readTree(file.toFile());
        Vocabulary made = new Vocabulary();
        for (Map.Entry<String, JsonNode> each : root.required("countries").properties()) {
            String country = each.getKey();
            String continent = each.getValue().textValue();
            made.countries.add(country);
            made.continents.add(continent);
            made.continentOf.put(country, continent);
            made.byContinent.computeIfAbsent(continent, key -> new HashSet<>()).add(country);
        }
        for (JsonNode each : root.required("subdivisions")) {
            String code = each.textValue();
            made.subdivisions.add(code);
            made.byCountry.computeIfAbsent(code.substring(0, 2), key -> new HashSet<>()).add(code);
        }
        return made;
    }

    Set<String> countriesOf(String continent) {
        return byContinent.get(continent);
    }

    Set<String> subdivisionsOf(String country) {
        return byCountry.getOrDefault(country, Set.of());
    }
}
