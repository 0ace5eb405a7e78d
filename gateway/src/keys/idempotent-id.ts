import { createHmac } from "node:crypto";

/**
 * Makes the id of a message from who sends it, its subject, and the key that its sender gave it: the same on every
 * instance and after every restart, so that a retry is the same message to a stream, and not to be guessed or chosen, so
 * that nobody takes the id of somebody else's.
 *
 * @param key  the subkey `idempotent-id` of the cluster secret; of native clients, `native-message-id`
 * @returns of what makes a UUID of version 8 (RFC 9562 §5.8): 122 bits of an HMAC-SHA256
 */
export function createIdempotentId(
  key: Uint8Array,
): (holder: string, subject: string, idempotencyKey: string) => string {
  return function idempotentId(...of) {
    // JSON keeps the three apart, whatever they contain.
    const bytes = createHmac("sha256", key).update(JSON.stringify(of)).digest().subarray(0, 16);
    bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x80;
    bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
    const hex = bytes.toString("hex");
    return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
  };
}
