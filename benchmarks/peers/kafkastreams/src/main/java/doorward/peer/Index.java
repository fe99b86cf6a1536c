package doorward.peer;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;

/** Documents arranged so that a join meets only those of its service, account and meeting. */
final class Index {
    /** One path and its revisions; the one in force is kept with the span of time that it is in force for. */
    static final class Slot {
        final String path;
        private final List<Document> revisions = new ArrayList<>(); // highest first
        private Document current;
        private long from;
        private long until; // an empty span: nothing worked out yet

        private Slot(String path) {
            this.path = path;
        }

        /** The revision in force at an instant (ms), or null. */
        Document inForce(long at) {
            if (at < from || at >= until) {
                workOut(at);
            }
            return current;
        }

        private void workOut(long at) {
            from = Long.MIN_VALUE;
            until = Long.MAX_VALUE;
            current = null;
            for (Document document : revisions) { // the first whose window has come has the say
                if (!document.retracted() && document.notBefore() != null) {
                    if (at < document.notBefore()) {
                        until = Math.min(until, document.notBefore());
                        continue;
                    }
                    from = Math.max(from, document.notBefore());
                }
                if (document.retracted()) {
                    return;
                }
                if (document.notAfter() != null) {
                    if (at >= document.notAfter()) { // an expired revision brings no older one back
                        from = Math.max(from, document.notAfter());
                        return;
                    }
                    until = Math.min(until, document.notAfter());
                }
                current = document;
                return;
            }
        }
    }

    /** What reaches the meetings of an account. */
    static final class Account {
        static final Account NONE = new Account();

        Slot[] slots = {};
        final Map<String, Slot[]> meetings = new HashMap<>();
    }

    private static final Slot[] NO_SLOTS = {};

    /** The slots that reach every meeting, by path. */
    Slot[] service = {};

    private final Map<String, Account> accounts = new HashMap<>();
    private final Map<String, Slot> slots = new HashMap<>();
    private final Map<Document, JsonNode> contents = new IdentityHashMap<>();

    int size() {
        return slots.size();
    }

    /** Never null. */
    Account account(String account) {
        return accounts.getOrDefault(account, Account.NONE);
    }

    /** The slots of one meeting's own documents, by path. */
    static Slot[] meeting(Account account, String meeting) {
        return account.meetings.isEmpty() ? NO_SLOTS : account.meetings.getOrDefault(meeting, NO_SLOTS);
    }

    void put(Document document, JsonNode content) throws PolicyReader.Refused {
        Slot slot = slots.computeIfAbsent(document.path(), Slot::new);
        for (Document other : slot.revisions) {
            if (other.revision() == document.revision()) {
                if (!contents.get(other).equals(content)) {
                    throw new PolicyReader.Refused(document.path() + " has that revision already, with other content");
                }
                return;
            }
        }
        if (slot.revisions.isEmpty()) {
            place(document, slot);
        }
        slot.revisions.add(document);
        slot.revisions.sort(Comparator.comparingLong(Document::revision).reversed());
        contents.put(document, content);
    }

    private void place(Document document, Slot slot) {
        if (document.isService()) {
            service = with(service, slot);
            return;
        }
        Account account = accounts.computeIfAbsent(document.account(), key -> new Account());
        if (document.meeting() == null) {
            account.slots = with(account.slots, slot);
        } else {
            account.meetings.put(document.meeting(), with(meeting(account, document.meeting()), slot));
        }
    }

    private static Slot[] with(Slot[] slots, Slot slot) {
        List<Slot> all = new ArrayList<>(List.of(slots));
        all.add(slot);
        all.sort(Comparator.comparing(each -> each.path));
        return all.toArray(Slot[]::new);
    }
}
