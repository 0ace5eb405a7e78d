import type { EpochSeconds } from "../time.ts";

/**
 * The public half of a key that seals, as a JSON Web Key (RFC 7517 §4, RFC 7518 §6.2). A seal counts only if
 * its `iat` lies within `nbf` … `exp`; the key is kept and served long after, since messages in streams are.
 */
export interface SealPublicJwk {
  readonly kty: "EC";
  readonly crv: "P-256";
  readonly x: string;
  readonly y: string;
  /** The key's thumbprint (RFC 7638), base64url SHA-256, 43 characters. */
  readonly kid: string;
  readonly alg: "ES256";
  readonly use: "sig";
  /** Nothing was sealed with it before. */
  readonly nbf: EpochSeconds;
  /** Nothing is sealed with it after. */
  readonly exp: EpochSeconds;
}

/**
 * The public seal keys of all instances, past ones too, so that any instance can serve them. Implemented by
 * nats/key-kv.ts. Every method may reject; a key counts as published only when `publish` has fulfilled.
 */
export interface PublicKeyDirectory {
  /** Stores it under its `kid`; publishing the same key again changes nothing. */
  publish(jwk: SealPublicJwk, instance: string): Promise<void>;
  all(): Promise<readonly SealPublicJwk[]>;
  /** @returns undefined when no instance has ever published it */
  get(kid: string): Promise<SealPublicJwk | undefined>;
}
