import { hkdfSync, randomBytes } from "node:crypto";
import { invalid, readSecretFile } from "./secret-file.ts";

/** What the subkeys of the cluster secret are for. A new purpose is a new label, never a second use of an old one. */
export type SubkeyLabel =
  /** Seals the state of a sign-in under way, kept in a cookie. */
  | "login-state"
  /** Seals refresh tokens, together with the cookie's own value. */
  | "refresh-token"
  /** Binds `ack` handles to the identity they were given to. */
  | "ack-handle"
  /** Derives the message id of a request with an `Idempotency-Key`. */
  | "idempotent-id"
  | "native-message-id"
  /** Derives the inbox of an identity. */
  | "inbox"
  /** Seals the identity in a credential for a client that connects by itself. */
  | "direct-credential";

/** One secret, the same on all instances of a gateway. It lives in a closure, so no log or `inspect` shows it. */
export interface ClusterSecret {
  /**
   * @returns 32 bytes, always the same for a label, telling nothing of the secret or of other labels
   * @source RFC 5869 (HKDF), SHA-256
   */
  subkey(label: SubkeyLabel): Buffer;
}

const SECRET_BYTES = 32;
const FILE_BYTES_MAX = 256;
const WHAT = "the cluster secret";

export function clusterSecretOf(bytes: Uint8Array): ClusterSecret {
  return Object.freeze({
    subkey: (label: SubkeyLabel) =>
      Buffer.from(hkdfSync("sha256", bytes, "", `countersign subkey ${label}`, 32)),
  });
}

/** @returns a new secret as its file holds it: 32 random bytes, base64url, 43 characters */
export function createClusterSecretText(): string {
  return randomBytes(SECRET_BYTES).toString("base64url");
}

/** @throws GatewayError KEYS_INVALID  missing, readable by others, or not 32 bytes in base64url */
export async function loadClusterSecret(path: string): Promise<ClusterSecret> {
  const text = await readSecretFile(path, WHAT, FILE_BYTES_MAX);
  if (text === undefined) {
    throw invalid(path, WHAT, "there is none", "Copy it from another instance, or run `countersign init`.");
  }
  const bytes = Buffer.from(text, "base64url");
  if (bytes.length !== SECRET_BYTES || bytes.toString("base64url") !== text) {
    throw invalid(path, WHAT, "it is not 32 bytes in base64url", "Copy it from another instance.");
  }
  return clusterSecretOf(bytes);
}
