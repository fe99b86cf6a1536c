package doorward.peer;

import doorward.peer.Document.Outcome;
import doorward.peer.Document.Rule;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** What a refused person and the host are told (charter C6), in English; of one document, worked out once. */
final class Receipts {
    /** The decision's id stands for this in the texts of a copy; no text that somebody wrote can hold it. */
    private static final String ID = "\u0000";

    private static final Map<String, String> CATALOGUE = Map.ofEntries(
            Map.entry("person.refused", "You were not let into this meeting."),
            Map.entry("person.removed", "You were removed from this meeting."),
            Map.entry("host.refused", "A participant was not let into this meeting."),
            Map.entry("host.removed", "A participant was removed from this meeting."),
            Map.entry("by.rule", "The rule “{rule}” decided it."),
            Map.entry("by.default", "No rule of the policy lets you in."),
            Map.entry("by.unknown", "Too little is known of your connection to tell which rule applies to you."),
            Map.entry("note", "Its author says: “{note}”"),
            Map.entry("policy.owner", "The policy is {policy}, revision {revision}, class owner: "
                    + "a rule of the account that the meeting belongs to."),
            Map.entry("policy.legal", "The policy is {policy}, revision {revision}, class legal: "
                    + "it is there because of a law."),
            Map.entry("policy.safety", "The policy is {policy}, revision {revision}, class safety: "
                    + "it is there to protect people."),
            Map.entry("signed.none", "It is unsigned."),
            Map.entry("ground", "Ground: “{ground}”."),
            Map.entry("reference", "Reference: “{reference}”."),
            Map.entry("contest", "To contest this, quote decision {decision}: {contest}"),
            Map.entry("contest.none", "No way to contest this was given. It is decision {decision}."));

    /** One receipt but for the decision's id. */
    record Receipt(
            String[] person,
            String[] host,
            int status,
            String contest,
            String reference,
            List<String> personMessages,
            List<String> hostMessages,
            Map<String, String> parameters) {}

    private record Case(Rule rule, Outcome outcome, boolean fromLobby) {}

    private final String documentClass;
    private final String contest;
    private final String reference;
    private final Map<String, String> parameters = new LinkedHashMap<>();
    private final List<String> about = new ArrayList<>();
    private final Map<Case, Receipt> made = new java.util.HashMap<>();

    Receipts(String path, long revision, String documentClass, String ground, String reference, String contest) {
        this.documentClass = documentClass;
        this.contest = contest;
        this.reference = reference;
        parameters.put("policy", path);
        parameters.put("revision", Long.toString(revision));
        Collections.addAll(about, "policy." + documentClass, "signed.none");
        tell("ground", ground);
        tell("reference", reference);
        if (contest == null) {
            about.add("contest.none");
        } else {
            tell("contest", contest);
        }
    }

    private void tell(String message, String words) {
        if (words != null) {
            parameters.put(message, quoted(words));
            about.add(message);
        }
    }

    Receipt of(Rule rule, Outcome outcome, String stage) {
        return made.computeIfAbsent(new Case(rule, outcome, stage.equals("lobby")), this::make);
    }

    private Receipt make(Case its) {
        Map<String, String> said = new LinkedHashMap<>(parameters);
        String done = its.fromLobby ? "refused" : "removed";
        List<String> person = new ArrayList<>(List.of("person." + done, "by." + its.outcome.word));
        if (its.rule != null) {
            said.put("rule", quoted(its.rule.id()));
            if (its.rule.note() != null) {
                said.put("note", quoted(its.rule.note()));
                person.add("note");
            }
        }
        List<String> host = new ArrayList<>(List.of("host." + done));
        person.addAll(about);
        host.addAll(about);
        int status = documentClass.equals("legal") ? 451 : 403;
        return new Receipt(
                rendered(person, said), rendered(host, said), status, contest, reference, person, host, said);
    }

    /** A copy's text, before and behind the decision's id. */
    private static String[] rendered(List<String> messages, Map<String, String> parameters) {
        List<String> sentences = new ArrayList<>();
        for (String message : messages) {
            StringBuilder sentence = new StringBuilder();
            String text = CATALOGUE.get(message);
            int at = 0;
            for (int open = text.indexOf('{'); open >= 0; open = text.indexOf('{', at)) {
                int close = text.indexOf('}', open);
                String name = text.substring(open + 1, close);
                sentence.append(text, at, open).append(name.equals("decision") ? ID : parameters.get(name));
                at = close + 1;
            }
            sentences.add(sentence.append(text.substring(at)).toString());
        }
        return String.join(" ", sentences).split(ID, 2);
    }

    /** Somebody's words as they can stand between quotation marks: on one line, single marks for double ones. */
    static String quoted(String words) {
        StringBuilder fit = new StringBuilder();
        words.codePoints().forEach(c -> {
            if ("\"“”„‟«»〝〞〟＂".indexOf(c) >= 0) {
                fit.append('\'');
            } else if (isPrintable(c) || c == 0x200c || c == 0x200d) {
                fit.appendCodePoint(c);
            } else if (Character.getType(c) != Character.FORMAT) {
                fit.append(' ');
            }
        });
        return fit.toString();
    }

    private static boolean isPrintable(int c) {
        return switch (Character.getType(c)) {
            case Character.CONTROL,
                    Character.FORMAT,
                    Character.SURROGATE,
                    Character.PRIVATE_USE,
                    Character.UNASSIGNED,
                    Character.LINE_SEPARATOR,
                    Character.PARAGRAPH_SEPARATOR -> false;
            case Character.SPACE_SEPARATOR -> c == ' ';
            default -> true;
        };
    }
}
