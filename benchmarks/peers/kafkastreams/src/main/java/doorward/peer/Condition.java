package doorward.peer;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** One field of a rule's {@code when}, compiled to a test that is true, false or open (design §4, rule 3). */
final class Condition {
    enum Truth {
        FALSE,
        TRUE,
        OPEN;

        static Truth of(boolean holds) {
            return holds ? TRUE : FALSE;
        }

        Truth negated() {
            return this == OPEN ? OPEN : of(this == FALSE);
        }
    }

    interface Test {
        Truth of(String role, String stage, Facts facts);
    }

    final String field;
    final boolean namesTerritory;
    final Test test;

    Condition(String field, List<String> values, boolean negated, Vocabulary vocabulary) {
        this.field = field;
        boolean territory = field.equals("country") || field.equals("subdivision") || field.equals("continent");
        this.namesTerritory = territory && !negated;
        Test plain = compile(field, values, vocabulary);
        this.test = negated ? (role, stage, facts) -> plain.of(role, stage, facts).negated() : plain;
    }

    private static Test compile(String field, List<String> values, Vocabulary vocabulary) {
        Set<String> named = new HashSet<>(values);
        return switch (field) {
            case "country" -> country(named, vocabulary);
            case "subdivision" -> subdivision(named, vocabulary);
            case "continent" -> continent(named, vocabulary);
            case "asn" -> asn(values);
            case "network" -> network(values);
            case "connection" -> connection(named);
            case "role" -> (role, stage, facts) -> Truth.of(named.contains(role));
            case "stage" -> (role, stage, facts) -> Truth.of(named.contains(stage));
            default -> throw new IllegalArgumentException(field);
        };
    }

    private static Test country(Set<String> named, Vocabulary vocabulary) {
        Map<String, Truth> byContinent = byContinent(named, named, vocabulary);
        return (role, stage, facts) -> {
            String country = facts.place().country();
            return country != null
                    ? Truth.of(named.contains(country))
                    : byContinent.getOrDefault(facts.place().continent(), Truth.FALSE);
        };
    }

    private static Test subdivision(Set<String> named, Vocabulary vocabulary) {
        Map<String, Truth> ofCountry = new HashMap<>();
        Set<String> whole = new HashSet<>();
        for (String code : named) {
            String country = code.substring(0, 2);
            if (vocabulary.countries.contains(country)) {
                boolean all = named.containsAll(vocabulary.subdivisionsOf(country));
                ofCountry.put(country, all ? Truth.TRUE : Truth.OPEN);
                if (all) {
                    whole.add(country);
                }
            }
        }
        Map<String, Truth> byContinent = byContinent(whole, ofCountry.keySet(), vocabulary);
        return (role, stage, facts) -> {
            Facts.Place place = facts.place();
            if (place.subdivision() != null) {
                return Truth.of(named.contains(place.subdivision()));
            }
            return place.country() != null
                    ? ofCountry.getOrDefault(place.country(), Truth.FALSE)
                    : byContinent.getOrDefault(place.continent(), Truth.FALSE);
        };
    }

    /** By continent (null: nothing is known), true only where it is true of each country there; absent: false. */
    private static Map<String, Truth> byContinent(Set<String> whole, Set<String> touched, Vocabulary vocabulary) {
        Map<String, Truth> found = new HashMap<>();
        for (String country : touched) {
            found.put(vocabulary.continentOf.get(country), Truth.OPEN);
        }
        if (!found.isEmpty()) {
            found.put(null, whole.containsAll(vocabulary.countries) ? Truth.TRUE : Truth.OPEN);
        }
        for (String continent : vocabulary.continents) {
            if (found.containsKey(continent) && whole.containsAll(vocabulary.countriesOf(continent))) {
                found.put(continent, Truth.TRUE);
            }
        }
        return found;
    }

    private static Test continent(Set<String> named, Vocabulary vocabulary) {
        Truth unknown = named.containsAll(vocabulary.continents) ? Truth.TRUE : Truth.OPEN;
        return (role, stage, facts) -> {
            String continent = facts.place().continent();
            return continent == null ? unknown : Truth.of(named.contains(continent));
        };
    }

    private static Test asn(List<String> values) {
        Set<Long> named = new HashSet<>();
        values.forEach(value -> named.add(Long.parseLong(value)));
        return (role, stage, facts) -> {
            Long asn = facts.place().asn();
            return asn == null ? Truth.OPEN : Truth.of(named.contains(asn));
        };
    }

    private static Test connection(Set<String> names) {
        int bits = 0;
        for (int i = 0; i < Facts.Place.CONNECTIONS.length; i++) {
            bits |= names.contains(Facts.Place.CONNECTIONS[i]) ? 1 << i : 0;
        }
        int named = bits;
        return (role, stage, facts) -> {
            int possible = facts.place().connection();
            if ((possible & ~named) == 0) {
                return Truth.TRUE;
            }
            return (possible & named) == 0 ? Truth.FALSE : Truth.OPEN;
        };
    }

    private static Test network(List<String> values) {
        byte[][][] four = merged(values, 4);
        byte[][][] six = merged(values, 16);
        return (role, stage, facts) -> {
            byte[] packed = facts.address();
            if (packed == null) {
                return Truth.OPEN;
            }
            byte[][][] blocks = packed.length == 4 ? four : six;
            int at = Arrays.binarySearch(blocks[0], packed, Arrays::compareUnsigned);
            int block = at >= 0 ? at : -at - 2;
            return Truth.of(block >= 0 && Arrays.compareUnsigned(packed, blocks[1][block]) <= 0);
        };
    }

    /** First and last addresses of the blocks of one family; sorted and disjoint. Blocks lie apart or nest. */
    private static byte[][][] merged(List<String> values, int length) {
        List<byte[]> firsts = new ArrayList<>();
        List<byte[]> lasts = new ArrayList<>();
        values.stream()
                .map(Addresses::network)
                .filter(block -> block[0].length == length)
                .sorted((a, b) -> Arrays.compareUnsigned(a[0], b[0]) != 0
                        ? Arrays.compareUnsigned(a[0], b[0])
                        : Arrays.compareUnsigned(b[1], a[1]))
                .forEach(block -> {
                    int end = lasts.size() - 1;
                    if (end < 0 || Arrays.compareUnsigned(block[0], lasts.get(end)) > 0) {
                        firsts.add(block[0]);
                        lasts.add(block[1]);
                    }
                });
        return new byte[][][] {firsts.toArray(byte[][]::new), lasts.toArray(byte[][]::new)};
    }
}
