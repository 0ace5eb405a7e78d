import { isBase64urlOf32Bytes } from "./base64url.ts";
import { parseUserName } from "./escape.ts";
import { SealError } from "./seal-error.ts";
import { parseStrictJson } from "./strict-json.ts";
import { checkSubject } from "./subject.ts";

/** Seconds since 1970-01-01T00:00:00Z (RFC 7519 §2, NumericDate). */
export type EpochSeconds = number;

/** Headers as name and value pairs, in order, names in the case they travel in. */
export type HeaderList = readonly (readonly [name: string, value: string])[];

/** What a seal says: the claims of an OAuth Transaction Token, bound to one message by `tctx.msg`. */
export interface SealClaims {
  /** The gateway's public URL. */
  readonly iss: string;
  /** The trust domain, one per NATS account. */
  readonly aud: string;
  /** Whole seconds. */
  readonly iat: EpochSeconds;
  readonly exp: EpochSeconds;
  /** A UUID, one per user action: several messages may share it. */
  readonly txn: string;
  /** `<issuer>-<escaped id>`. */
  readonly sub: string;
  /** Who acted for `sub`; present only when delegated. */
  readonly act?: { readonly sub: string };
  readonly req_wl: string;
  /** `<verb>:<pattern>`. */
  readonly scope: string;
  readonly tctx: { readonly msg: SealedMessageClaims };
  readonly rctx: {
    readonly rid: string;
    readonly acr?: string;
    readonly sid?: string;
    readonly name?: string;
    readonly ip?: string;
  };
}

export interface SealedMessageClaims {
  /** The literal subject; absent exactly when `re` is there. */
  readonly s?: string;
  /** The id of the message this one replies to. */
  readonly re?: string;
  /** base64url SHA-256 of the payload. */
  readonly d: string;
  readonly id: string;
  /** As `headersDigest` makes it. */
  readonly h: string;
}

/** Life of a seal, seconds: from sealing to the broker's time, not to the reader's. */
export const SEAL_TTL_SECONDS = 60;
/** Longest life a verifier believes in ("minutes or less", draft-ietf-oauth-transaction-tokens). */
export const SEAL_TTL_SECONDS_MAX = 300;
/** Claims as bytes. The longest that the gateway's own bounds allow stay below 3 KiB. */
export const CLAIMS_BYTES_MAX = 4_096;
/** `{tctx:{msg:{…}}}` needs 3; unknown members may be as deep as this. */
export const CLAIMS_DEPTH_MAX = 8;

const TXN = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const MESSAGE_ID = /^[A-Za-z0-9_-]{1,64}$/;
const REQUEST_ID = /^[A-Za-z0-9._-]{1,128}$/;
const MESSAGE_MEMBERS: ReadonlySet<string> = new Set(["s", "re", "d", "id", "h"]);
const TEXT_LENGTH_MAX = 512;

/**
 * Parses claims that a signature or a signed root vouches for.
 *
 * Unknown members are passed over (RFC 7519 §4), except in `tctx.msg`: what binds the message must be understood
 * in full, or it binds nothing.
 *
 * @param bytes  at most `CLAIMS_BYTES_MAX` (4,096), JSON without duplicate keys, depth at most 8
 * @throws SealError `encoding_invalid`, `claims_invalid`
 */
export function parseClaims(bytes: Uint8Array): SealClaims {
  const json = parseStrictJson(bytes, { bytesMax: CLAIMS_BYTES_MAX, depthMax: CLAIMS_DEPTH_MAX });
  if (json === undefined) throw new SealError("encoding_invalid", "The claims are not strict JSON");
  const fault = faultOf(json);
  if (fault !== undefined) throw new SealError("claims_invalid", `The claims are not well-formed: ${fault}`);
  return json as SealClaims;
}

/** Verb and pattern of `scope`; undefined when it is not exactly one of each. */
export function parseScope(scope: string): { readonly verb: string; readonly pattern: string } | undefined {
  const colon = scope.indexOf(":");
  if (colon < 0) return undefined;
  const verb = scope.slice(0, colon);
  const pattern = scope.slice(colon + 1);
  if (!/^[a-z][a-z-]{0,31}$/.test(verb) || checkSubject(pattern, { wildcards: true })) return undefined;
  return { verb, pattern };
}

/** The first member that is not as `SealClaims` says. */
function faultOf(claims: unknown): string | undefined {
  if (!isObject(claims)) return "not an object";
  const { iss, aud, iat, exp, txn, sub, act, req_wl, scope, tctx, rctx } = claims;
  if (!isText(iss)) return "iss";
  if (!isText(aud)) return "aud";
  if (!isTime(iat)) return "iat";
  if (!isTime(exp) || exp <= iat || exp - iat > SEAL_TTL_SECONDS_MAX) return "exp";
  if (typeof txn !== "string" || !TXN.test(txn)) return "txn";
  if (!isUser(sub)) return "sub";
  if (act !== undefined && !(isObject(act) && isUser(act.sub))) return "act";
  if (!isText(req_wl)) return "req_wl";
  if (typeof scope !== "string") return "scope";
  if (!isObject(tctx) || !isObject(tctx.msg)) return "tctx.msg";
  return faultOfMessage(tctx.msg, scope) ?? faultOfRequest(rctx);
}

function faultOfMessage(message: Readonly<Record<string, unknown>>, scope: string): string | undefined {
  const unknown = Object.keys(message).find((member) => !MESSAGE_MEMBERS.has(member));
  if (unknown !== undefined) return "tctx.msg has a member unknown here";
  const { s, re, d, id, h } = message;
  if (typeof d !== "string" || !isBase64urlOf32Bytes(d)) return "tctx.msg.d";
  if (typeof h !== "string" || !isBase64urlOf32Bytes(h)) return "tctx.msg.h";
  if (typeof id !== "string" || !MESSAGE_ID.test(id)) return "tctx.msg.id";
  const parsed = parseScope(scope);
  if (!parsed) return "scope";
  if (re === undefined) {
    if (typeof s !== "string" || checkSubject(s, { wildcards: false })) return "tctx.msg.s";
    return parsed.verb === "respond" ? "scope of a reply on what is none" : undefined;
  }
  if (s !== undefined || typeof re !== "string" || !MESSAGE_ID.test(re)) return "tctx.msg.re";
  return parsed.verb === "respond" ? undefined : "scope of a reply";
}

function faultOfRequest(request: unknown): string | undefined {
  if (!isObject(request)) return "rctx";
  const { rid, acr, sid, name, ip } = request;
  if (typeof rid !== "string" || !REQUEST_ID.test(rid)) return "rctx.rid";
  if (sid !== undefined && !(typeof sid === "string" && isBase64urlOf32Bytes(sid))) return "rctx.sid";
  for (const [member, value] of Object.entries({ acr, name, ip })) {
    if (value !== undefined && !isText(value)) return `rctx.${member}`;
  }
  return undefined;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isText(value: unknown): value is string {
  return typeof value === "string" && value !== "" && value.length <= TEXT_LENGTH_MAX && value.isWellFormed();
}

function isTime(value: unknown): value is EpochSeconds {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function isUser(value: unknown): value is string {
  return typeof value === "string" && parseUserName(value) !== undefined;
}
