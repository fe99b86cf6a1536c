package doorward.peer;

import java.io.IOException;
import java.io.UncheckedIOException;
import org.msgpack.core.MessageBufferPacker;
import org.msgpack.core.MessagePack;
import org.msgpack.core.MessagePacker;
import org.msgpack.core.MessageUnpacker;

/** Participations to bytes and back, as streams.wire.sessionrecord writes them: version, kind, MessagePack. */
final class SessionRecord {
    /** What is kept of a participation that has ended: its leave's offset, and until when it is kept (ms). */
    record Ended(long offset, long until) {}

    private static final byte VERSION = 1;
    private static final byte LIVE = 'L';
    private static final byte ENDED = 'E';
    private static final int FIELDS = 23;

    private final MessageBufferPacker packer = MessagePack.newDefaultBufferPacker();

    static boolean isLive(byte[] record, int at) {
        return record[at + 1] == LIVE;
    }

    byte[] encode(Ended ended) {
        try {
            packer.clear();
            packer.addPayload(new byte[] {VERSION, ENDED});
            packer.packArrayHeader(2).packLong(ended.offset).packLong(ended.until);
            return packer.toByteArray();
        } catch (IOException e) {
            throw new UncheckedIOException(e); // it writes to memory
        }
    }

    byte[] encode(Session session) {
        try {
            packer.clear();
            packer.addPayload(new byte[] {VERSION, LIVE});
            packer.packArrayHeader(FIELDS);
            packer.packString(session.account).packString(session.meeting).packString(session.participation);
            packer.packString(session.role).packString(session.stage);
            Facts.Place place = session.place;
            packer.packArrayHeader(7).packNil();
            optional(place.country());
            optional(place.subdivision());
            optional(place.continent());
            optional(place.asn());
            packer.packInt(place.connection()).packInt(0);
            if (session.sealed == null) {
                packer.packNil();
            } else {
                packer.packBinaryHeader(session.sealed.length).writePayload(session.sealed);
            }
            packer.packInt(session.verdict).packInt(session.reported).packString(session.cause);
            packer.packLong(session.offset).packLong(session.policyOffset).packLong(session.geoTime);
            packer.packLong(session.decidedAt).packString(session.geoBuild);
            optional(session.sequence);
            optional(session.time);
            packer.packString(session.id).packString(session.source);
            packer.packLong(session.seenAt).packLong(session.removedAt).packInt(session.reminders);
            packer.packNil(); // nothing sweeps here
            return packer.toByteArray();
        } catch (IOException e) {
            throw new UncheckedIOException(e); // it writes to memory
        }
    }

    private void optional(String value) throws IOException {
        MessagePacker ignored = value == null ? packer.packNil() : packer.packString(value);
    }

    private void optional(Long value) throws IOException {
        MessagePacker ignored = value == null ? packer.packNil() : packer.packLong(value);
    }

    /** The marker in a record that begins at some place. */
    static Ended ended(byte[] record, int at) {
        try (MessageUnpacker from = MessagePack.newDefaultUnpacker(record, at + 2, record.length - at - 2)) {
            from.unpackArrayHeader();
            return new Ended(from.unpackLong(), from.unpackLong());
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** The session in a record that begins at some place. */
    static Session session(byte[] record, int at) {
        try (MessageUnpacker from = MessagePack.newDefaultUnpacker(record, at + 2, record.length - at - 2)) {
            Session session = new Session();
            from.unpackArrayHeader();
            session.account = from.unpackString();
            session.meeting = from.unpackString();
            session.participation = from.unpackString();
            session.role = from.unpackString();
            session.stage = from.unpackString();
            from.unpackArrayHeader();
            from.unpackNil();
            session.place = new Facts.Place(text(from), text(from), text(from), number(from), from.unpackInt());
            from.unpackInt();
            session.sealed = from.tryUnpackNil() ? null : from.readPayload(from.unpackBinaryHeader());
            session.verdict = from.unpackInt();
            session.reported = from.unpackInt();
            session.cause = from.unpackString();
            session.offset = from.unpackLong();
            session.policyOffset = from.unpackLong();
            session.geoTime = from.unpackLong();
            session.decidedAt = from.unpackLong();
            session.geoBuild = from.unpackString();
            session.sequence = number(from);
            session.time = number(from);
            session.id = from.unpackString();
            session.source = from.unpackString();
            session.seenAt = from.unpackLong();
            session.removedAt = from.unpackLong();
            session.reminders = from.unpackInt();
            return session;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static String text(MessageUnpacker from) throws IOException {
        return from.tryUnpackNil() ? null : from.unpackString();
    }

    private static Long number(MessageUnpacker from) throws IOException {
        return from.tryUnpackNil() ? null : from.unpackLong();
    }
}
