import type { SealErrorCode } from "../src/seal-error.ts";

/** One file of `seal/vectors`: a message, what its reader knows, and what must come of it. README.md explains it. */
export interface Vector {
  readonly description: string;
  readonly message: {
    readonly subject: string;
    readonly headers: readonly (readonly [name: string, value: string])[];
    readonly payloadBase64: string;
  };
  /** The key set; null = it cannot be read. */
  readonly jwks: { readonly keys: readonly unknown[] } | null;
  readonly options: VectorOptions;
  readonly expected: { readonly ok: VectorSummary } | { readonly code: SealErrorCode };
}

export interface VectorOptions {
  readonly issuer: string;
  readonly audience: string;
  /** The verifier's clock, seconds since 1970. */
  readonly now: number;
  /** When the stream took the message; absent = core NATS. */
  readonly brokerTime?: number;
  readonly maxAgeSeconds?: number;
  /** The configured transform: what the sealed subject becomes. */
  readonly transform?: { readonly sealed: string; readonly received: string };
  /** What the revocation source answers; absent = there is none. */
  readonly revocation?: "clear" | "revoked" | "unavailable";
  /** A reply to the message with this id is expected. */
  readonly replyTo?: string;
}

export interface VectorSummary {
  readonly user: string;
  readonly issuer: string;
  readonly userId: string;
  readonly name?: string;
  readonly actor?: string;
  readonly id: string;
  readonly txn: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** Absent without a revocation source. */
  readonly authorizedNow?: boolean;
}
