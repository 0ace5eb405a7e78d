import type { KeyObject } from "node:crypto";
import type { EpochSeconds, HeaderList } from "./claims.ts";

/** A private key that seals, and the name under which its public half stands in the key set. */
export interface SealingKey {
  /** `[A-Za-z0-9_-]{1,64}`. */
  readonly kid: string;
  /** EC, P-256. */
  readonly privateKey: KeyObject;
}

/** Everything a seal says about one message. The time comes from the sealing. */
export interface SealDraft {
  /** The gateway's public URL; becomes `iss`. */
  readonly issuer: string;
  /** The trust domain, one per NATS account; becomes `aud`. */
  readonly audience: string;
  /** `countersign/<instance>`; becomes `req_wl`. */
  readonly workload: string;
  /** A UUIDv7, one per user action. */
  readonly txn: string;
  /** `<issuer>-<escaped id>`, as `userName` makes it; becomes `sub`. */
  readonly user: string;
  /** The user name of who acts for the user; becomes `act.sub`. */
  readonly actor?: string;
  /** `<verb>:<pattern>`, the line that grants it: `publish:orders.eu.*.create`. */
  readonly scope: string;
  /** The literal subject it is published to. */
  readonly subject: string;
  /**
   * The id of the message it replies to. Then this is sealed (`re`) in place of the subject, since service imports
   * rewrite reply subjects, and the scope's verb must be `respond`.
   */
  readonly repliesTo?: string;
  /** As `payloadDigest` makes it: base64url SHA-256 of the payload, 43 characters. */
  readonly digest: string;
  /** `[A-Za-z0-9_-]{1,64}`; travels as `Nats-Msg-Id` too. */
  readonly id: string;
  /** All that are sent along; those outside the seal (`isCovered`) are passed over. */
  readonly headers: HeaderList;
  /** `[A-Za-z0-9._-]{1,128}`; becomes `rctx.rid`. */
  readonly requestId: string;
  readonly acr?: string;
  /** base64url SHA-256 of the session cookie's value, 43 characters; becomes `rctx.sid`. */
  readonly sessionHash?: string;
  /** Display name and address of the caller, only where configured: they stay in streams for years. */
  readonly name?: string;
  readonly ip?: string;
}

/** The headers that make a message sealed, `Nats-Msg-Id` included; they are added to the message's own. */
export type SealedHeaders = HeaderList;

/** Most messages under one signature. */
export const TREE_LEAVES_MAX = 1_024;

/**
 * Seals many messages with one signature: the default form.
 *
 * @param drafts  1 to `TREE_LEAVES_MAX` (1,024)
 * @param at      when; becomes `iat` of all of them, rounded down to the second
 * @returns the headers of each message, in order, and the root of their tree, base64url
 */
export function sealTree(
  key: SealingKey,
  drafts: readonly SealDraft[],
  at: EpochSeconds,
): { readonly seals: readonly SealedHeaders[]; readonly root: string };
export function sealTree(): never {
  throw new Error("sealTree is still being written");
}

/** Seals one message with its own signature: a plain OAuth Transaction Token. */
export function sealToken(key: SealingKey, draft: SealDraft, at: EpochSeconds): SealedHeaders;
export function sealToken(): never {
  throw new Error("sealToken is still being written");
}
