import type { SignedIdentity } from "../hop/signed-identity.ts";
import type { EpochSeconds } from "../time.ts";

/** What a caller presents. The bytes are untrusted until `identify` has judged them. */
export type Proof =
  /** An access token of one of the configured issuers (RFC 6750 §2.1, RFC 9068). */
  | { readonly kind: "bearer"; readonly token: string }
  /** The value of our session cookie. Ambient: the browser attaches it by itself. */
  | { readonly kind: "session"; readonly id: string }
  | VouchedProof
  | CredentialProof;

/** What comes from a proven hop: all ambient, since the browser, or IIS for it, attaches them by itself. */
export type VouchedProof =
  /** Windows authentication by IIS, signed by our module there. */
  | { readonly kind: "windows"; readonly signed: SignedIdentity }
  /** A client certificate that IIS asked for, DER; behind ARR with the signature that names it. */
  | { readonly kind: "certificate"; readonly der: Uint8Array; readonly signed?: SignedIdentity }
  /** What App Service says of the user, base64 of JSON. */
  | { readonly kind: "easy-auth"; readonly principal: string };

/**
 * A credential of our own making, shown by a NATS client that connects by itself, with what shows that it holds the
 * credential's key: a copy alone proves nothing.
 */
export interface CredentialProof {
  readonly kind: "credential";
  readonly jwt: string;
  /** What nats-server gave the client to sign. */
  readonly nonce: string;
  /** base64url of the signature over it. */
  readonly sig: string;
}

/** Everything in one request that bears on who sent it. */
export interface Presented {
  /** In order of appearance; empty when the caller presents nothing. */
  readonly proofs: readonly Proof[];
  readonly method: string;
  /** `Origin` (RFC 6454 §7), or null when absent. */
  readonly origin: string | null;
  /** `Sec-Fetch-Site` (W3C Fetch Metadata §2.3), or null when absent. */
  readonly fetchSite: string | null;
  /** `Sec-Fetch-Mode` is `navigate` and `Sec-Fetch-Dest` is `document`: a top-level navigation. */
  readonly navigation: boolean;
  /** Whether `Countersign-Request: 1` is there, which no cross-site form or image can send. */
  readonly deliberate: boolean;
}

/** A verified Proof. */
export interface Identity {
  /** `<issuer>-<escaped id>`: one NATS subject token, as `userName()` of the seal package makes it. */
  readonly user: string;
  /** The issuer's name in the configuration, `[a-z0-9]+`. */
  readonly issuer: string;
  /** The id as the issuer writes it (`sub`, Entra `oid`), unescaped. */
  readonly id: string;
  /** For display only; never decided upon. */
  readonly name?: string;
  /** `unknown` when the token does not tell, and then it matches neither `client:` nor `service:` rules. */
  readonly kind: "user" | "service" | "unknown";
  /** The application it was signed in through (`azp`, `client_id`). */
  readonly client?: string;
  /** By attribute name of the configuration; null prototype; every value a list, possibly of one. */
  readonly attributes: Readonly<Record<string, readonly string[]>>;
  /** Authentication context class (OpenID Connect Core §2), for conditions. */
  readonly acr?: string;
  /** Who acts for the user (RFC 8693 §4.1), outermost only. */
  readonly actor?: { readonly user: string };
  /** What its token was asked for, as lines of a policy (`publish orders.eu.>`); absent = all that the policy gives. */
  readonly asked?: readonly string[];
  readonly proof: {
    /** A credential stands for the proof it was given for, and names that. */
    readonly kind: Exclude<Proof["kind"], "credential">;
    /** A hash that names the proof (token or session) in leases and records; base64url SHA-256, 43 characters. */
    readonly hash: string;
  };
  /** When the user was proved: the token's `iat`, the session's sign-in. Compared with not-before. */
  readonly provedAt: EpochSeconds;
  /** When the proof ends; nothing made from it outlives this. */
  readonly expiresAt: EpochSeconds;
}

/** User and actor as one key: who a rate, a count of streams and a connection belong to. An agent has its own. */
export function holderOf({ user, actor }: Identity): string {
  // A blank stands in no user name, so that no two pairs meet.
  return actor ? `${user} ${actor.user}` : user;
}
