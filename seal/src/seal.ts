import type { KeyObject } from "node:crypto";
import { type EpochSeconds, type HeaderList, SEAL_TTL_SECONDS } from "./claims.ts";
import { headersDigest } from "./digests.ts";
import { makeJws } from "./jws.ts";
import { leafOf, pathOf, treeOf } from "./tree.ts";

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
 * @param drafts  1 to `TREE_LEAVES_MAX` (1,024), each within the bounds that `SealDraft` names
 * @param at      when; becomes `iat` of all of them, rounded down to the second
 * @returns the headers of each message, in order, and the root of their tree, base64url
 * @throws RangeError for another number of drafts, drafts of several issuers or audiences, or a header that cannot
 *         be sealed (`headersDigest`): callers check those before they batch, or one spoils the batch
 */
export function sealTree(
  key: SealingKey,
  drafts: readonly SealDraft[],
  at: EpochSeconds,
): { readonly seals: readonly SealedHeaders[]; readonly root: string } {
  const [first] = drafts;
  if (!first || drafts.length > TREE_LEAVES_MAX) {
    throw new RangeError(`Cannot seal: expected 1 to ${TREE_LEAVES_MAX} messages, found ${drafts.length}`);
  }
  const frame = frameOf(first, at);
  const claims = drafts.map((draft) => claimsOf(draft, frame));
  const tree = treeOf(claims.map(leafOf));
  const payload = `{${frame.text},"n":${drafts.length},"root":"${tree.root}"}`;
  const jws = makeJws({ typ: "seal-root+jwt", ...key }, payload);
  const seals = drafts.map((draft, index): SealedHeaders => {
    const path = pathOf(tree, index);
    return [
      ["Seal-Claims", Buffer.from(claims[index] ?? "", "utf8").toString("base64url")],
      ["Seal-Path", path.length === 0 ? `${index}` : `${index}.${path.join(".")}`],
      ["Seal-Root", jws],
      ["Nats-Msg-Id", draft.id],
    ];
  });
  return { seals, root: tree.root };
}

/**
 * Seals one message with its own signature: a plain OAuth Transaction Token, for readers with only a JOSE library.
 *
 * @throws RangeError for a header that cannot be sealed (`headersDigest`)
 */
export function sealToken(key: SealingKey, draft: SealDraft, at: EpochSeconds): SealedHeaders {
  const claims = claimsOf(draft, frameOf(draft, at));
  return [
    ["Txn-Token", makeJws({ typ: "txntoken+jwt", ...key }, claims)],
    ["Nats-Msg-Id", draft.id],
  ];
}

/** The claims that all messages of one tree share with its root. */
interface Frame {
  readonly issuer: string;
  readonly audience: string;
  /** `"iss":…,"aud":…,"iat":…,"exp":…`. */
  readonly text: string;
}

function frameOf({ issuer, audience }: SealDraft, at: EpochSeconds): Frame {
  const iat = Math.floor(at);
  const text = `"iss":${quote(issuer)},"aud":${quote(audience)},"iat":${iat},"exp":${iat + SEAL_TTL_SECONDS}`;
  return { issuer, audience, text };
}

/** `SealClaims` as JSON. Written by hand: it is a third of the time of building the object first. */
function claimsOf(draft: SealDraft, frame: Frame): string {
  if (draft.issuer !== frame.issuer || draft.audience !== frame.audience) {
    throw new RangeError("Cannot seal: expected one issuer and audience for the whole tree, found several");
  }
  const digest = headersDigest(draft.headers);
  if (digest === undefined)
    throw new RangeError("Cannot seal: a header is not a token with a printable value");
  const act = draft.actor === undefined ? "" : `,"act":{"sub":${quote(draft.actor)}}`;
  const target =
    draft.repliesTo === undefined ? `"s":${quote(draft.subject)}` : `"re":${quote(draft.repliesTo)}`;
  return (
    `{${frame.text},"txn":${quote(draft.txn)},"sub":${quote(draft.user)}${act},` +
    `"req_wl":${quote(draft.workload)},"scope":${quote(draft.scope)},` +
    `"tctx":{"msg":{${target},"d":${quote(draft.digest)},"id":${quote(draft.id)},"h":"${digest}"}},` +
    `"rctx":{"rid":${quote(draft.requestId)}${member("acr", draft.acr)}${member("sid", draft.sessionHash)}` +
    `${member("name", draft.name)}${member("ip", draft.ip)}}}`
  );
}

function member(name: string, value: string | undefined): string {
  return value === undefined ? "" : `,"${name}":${quote(value)}`;
}

/** JSON.stringify is the one that is right about every character, and several times slower than quotes alone. */
function quote(text: string): string {
  return /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/.test(text) ? `"${text}"` : JSON.stringify(text);
}
