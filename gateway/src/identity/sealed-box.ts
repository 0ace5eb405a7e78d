import { createCipheriv, createDecipheriv, hkdfSync, type KeyObject, randomBytes } from "node:crypto";

const IV_BYTES = 12;
const TAG_BYTES = 16;

/** 32 bytes; a function, so that it can be rotated and need not lie about. */
export type SecretKey = () => KeyObject | Buffer;

/**
 * Encrypts and authenticates a short text (AES-256-GCM, a random 96-bit IV).
 *
 * @param key      32 bytes
 * @param context  what the box is for; it opens only with the same
 * @returns base64url
 */
export function sealBox(key: KeyObject | Buffer, text: string, context: string): string {
  const iv = randomBytes(IV_BYTES);
  const cipher = createCipheriv("aes-256-gcm", key, iv);
  cipher.setAAD(Buffer.from(context, "utf8"));
  const body = Buffer.concat([cipher.update(text, "utf8"), cipher.final()]);
  return Buffer.concat([iv, body, cipher.getAuthTag()]).toString("base64url");
}

/** @returns undefined for whatever `sealBox` did not make with this key and context */
export function openBox(key: KeyObject | Buffer, box: string, context: string): string | undefined {
  const bytes = Buffer.from(box, "base64url");
  if (bytes.length < IV_BYTES + TAG_BYTES) return undefined;
  const decipher = createDecipheriv("aes-256-gcm", key, bytes.subarray(0, IV_BYTES), {
    authTagLength: TAG_BYTES,
  });
  decipher.setAAD(Buffer.from(context, "utf8"));
  decipher.setAuthTag(bytes.subarray(-TAG_BYTES));
  try {
    return decipher.update(bytes.subarray(IV_BYTES, -TAG_BYTES), undefined, "utf8") + decipher.final("utf8");
  } catch {
    return undefined;
  }
}

/**
 * The key of one session's refresh token: it needs the cookie's value, which is stored nowhere, besides ours. So
 * neither the bucket of sessions nor a browser's cookie is worth anything alone (HKDF-SHA256, RFC 5869).
 */
export function refreshKeyOf(key: KeyObject | Buffer, sessionId: string): Buffer {
  return Buffer.from(hkdfSync("sha256", key, sessionId, "countersign refresh token v1", 32));
}
