package doorward.peer;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.util.Arrays;
import java.util.Base64;
import javax.crypto.Cipher;
import javax.crypto.ShortBufferException;
import javax.crypto.spec.SecretKeySpec;

/**
 * Seals addresses by AES-SIV (RFC 5297) and stamps records by keyed BLAKE2b, as streams.adapters.seal does: the same
 * bytes from the same key. JCE has no SIV mode, but its block cipher runs on the processor's instructions. One thread.
 */
final class Sealer {
    private static final int BLOCK = 16;
    private static final int PLAIN = 17;
    private static final int SEALED = 4 + BLOCK + PLAIN;

    private final Cipher mac;
    private final Cipher counter;
    private final byte[] keyId = new byte[4];
    private final byte[] subkey1;
    private final byte[] subkey2;
    private final byte[] ofZero;
    private final Blake2b stamper;
    private final byte[] state = new byte[BLOCK];
    private final byte[] counters = new byte[2 * BLOCK];
    private final byte[] stream = new byte[2 * BLOCK];

    private Sealer(byte[] key) throws GeneralSecurityException {
        mac = cipher(Arrays.copyOf(key, 32));
        counter = cipher(Arrays.copyOfRange(key, 32, 64));
        subkey1 = doubled(mac.update(new byte[BLOCK]));
        subkey2 = doubled(subkey1);
        ofZero = cmac(new byte[BLOCK], BLOCK).clone();
        new Blake2b(4, null, "doorward-seal-id").hash(key, key.length, keyId, 0);
        byte[] own = new byte[64];
        new Blake2b(64, null, "doorward-stamps").hash(key, key.length, own, 0);
        stamper = new Blake2b(16, own, "doorward-session");
    }

    /** The sealer of a key file: a JWK with kty oct and k of 64 bytes. */
    static Sealer read(Path file) throws IOException, GeneralSecurityException {
        JsonNode jwk = new ObjectMapper().readTree(file.toFile());
        byte[] key = Base64.getUrlDecoder().decode(jwk.path("k").asText());
        if (!"oct".equals(jwk.path("kty").textValue()) || key.length != 64) {
            throw new IOException(file + " is no sealing key");
        }
        return new Sealer(key);
    }

    private static Cipher cipher(byte[] key) throws GeneralSecurityException {
        Cipher cipher = Cipher.getInstance("AES/ECB/NoPadding"); // block by block: the modes are made here
        cipher.init(Cipher.ENCRYPT_MODE, new SecretKeySpec(key, "AES"));
        return cipher;
    }

    /** An address of 4 or 16 bytes, sealed for one participation. */
    byte[] seal(byte[] address, byte[] subject) {
        byte[] sealed = Arrays.copyOf(keyId, SEALED);
        byte[] plain = new byte[PLAIN];
        plain[0] = (byte) address.length;
        System.arraycopy(address, 0, plain, 1, address.length);
        System.arraycopy(synthesised(plain, subject), 0, sealed, 4, BLOCK);
        crypt(plain, 0, sealed, 4, sealed, 4 + BLOCK);
        return sealed;
    }

    /** What {@link #seal} sealed; null where it does not open. */
    byte[] unseal(byte[] sealed, byte[] subject) {
        if (sealed == null || sealed.length != SEALED || !Arrays.equals(sealed, 0, 4, keyId, 0, 4)) {
            return null;
        }
        byte[] plain = new byte[PLAIN];
        crypt(sealed, 4 + BLOCK, sealed, 4, plain, 0);
        byte[] vector = Arrays.copyOfRange(sealed, 4, 4 + BLOCK);
        return MessageDigest.isEqual(vector, synthesised(plain, subject))
                ? Arrays.copyOfRange(plain, 1, 1 + plain[0])
                : null;
    }

    /** A record's value: format, number, stamp of all that it says, payload (streams.runtime.frames). */
    byte[] frame(int partition, long number, byte[] key, byte[] payload) {
        int length = 4 + 8 + 1 + 4 + key.length + payload.length;
        byte[] said = new byte[length];
        ByteBuffer.wrap(said).putInt(partition).putLong(number).put((byte) 1).putInt(key.length).put(key).put(payload);
        byte[] value = new byte[1 + 8 + 4 + BLOCK + payload.length];
        ByteBuffer.wrap(value).put((byte) 2).putLong(number).put(keyId);
        stamper.hash(said, length, value, 13);
        System.arraycopy(payload, 0, value, payloadAt(), payload.length);
        return value;
    }

    /** Where the payload begins in what {@link #frame} made. */
    static int payloadAt() {
        return 13 + BLOCK;
    }

    // -- RFC 5297 -------------------------------------------------------------------------------------------------

    /** S2V of one string of associated data and a plaintext of a block or more. */
    private byte[] synthesised(byte[] plain, byte[] subject) {
        byte[] vector = doubled(ofZero);
        xor(cmac(subject, subject.length), vector, 0);
        byte[] ended = plain.clone();
        xor(vector, ended, plain.length - BLOCK);
        return cmac(ended, ended.length);
    }

    private void crypt(byte[] from, int at, byte[] vector, int vectorAt, byte[] into, int intoAt) {
        System.arraycopy(vector, vectorAt, counters, 0, BLOCK);
        counters[8] &= 0x7f;
        counters[12] &= 0x7f;
        System.arraycopy(counters, 0, counters, BLOCK, BLOCK);
        for (int i = 2 * BLOCK - 1; i >= BLOCK && ++counters[i] == 0; i--) {}
        encrypt(counter, counters, 2 * BLOCK, stream);
        for (int i = 0; i < PLAIN; i++) {
            into[intoAt + i] = (byte) (from[at + i] ^ stream[i]);
        }
    }

    /** RFC 4493, under the first half of the key; the result is overwritten by the next call. */
    private byte[] cmac(byte[] message, int length) {
        Arrays.fill(state, (byte) 0);
        int at = 0;
        for (; length - at > BLOCK; at += BLOCK) {
            for (int i = 0; i < BLOCK; i++) {
                state[i] ^= message[at + i];
            }
            encrypt(mac, state, BLOCK, state);
        }
        for (int i = 0; i < length - at; i++) {
            state[i] ^= message[at + i];
        }
        if (length - at < BLOCK) {
            state[length - at] ^= (byte) 0x80;
        }
        xor(length - at == BLOCK ? subkey1 : subkey2, state, 0);
        encrypt(mac, state, BLOCK, state);
        return state;
    }

    private static void encrypt(Cipher cipher, byte[] from, int length, byte[] into) {
        try {
            cipher.update(from, 0, length, into, 0);
        } catch (ShortBufferException e) {
            throw new IllegalStateException(e); // there is room
        }
    }

    private static void xor(byte[] with, byte[] into, int at) {
        for (int i = 0; i < BLOCK; i++) {
            into[at + i] ^= with[i];
        }
    }

    private static byte[] doubled(byte[] block) {
        byte[] made = new byte[BLOCK];
        int carry = 0;
        for (int i = BLOCK - 1; i >= 0; i--) {
            made[i] = (byte) (block[i] << 1 | carry);
            carry = (block[i] & 0x80) >> 7;
        }
        made[BLOCK - 1] ^= (byte) (carry * 0x87);
        return made;
    }
}
