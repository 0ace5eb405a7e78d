import { createHmac, timingSafeEqual } from "node:crypto";
import { allowed, type Outcome, refused } from "../refusal.ts";
import type { EpochSeconds } from "../time.ts";

/**
 * What our module in IIS signs on each request, in the order of its lines. Whoever is not signed in by Windows is
 * `anonymous`: that is a word of IIS too, and proves that the request came through it.
 */
export interface SignedIdentity {
  /** By IIS's clock, to the millisecond. */
  readonly signedAt: EpochSeconds;
  /** 32 hexadecimal digits: one request. */
  readonly nonce: string;
  /** As IIS read it. The URL is not signed: IIS encodes paths anew. */
  readonly method: string;
  /** Absent: nobody is signed in. */
  readonly account?: WindowsAccount;
  /** SHA-256 of the client certificate as IIS saw it, 64 hexadecimal digits. */
  readonly certificateHash?: string;
}

export interface WindowsAccount {
  /** `Negotiate`, `NTLM`, `Kerberos`, `Basic` … */
  readonly authenticationType: string;
  /** `S-1-5-21-…`: stays when the account is renamed. */
  readonly sid: string;
  /** `CORP\alice` */
  readonly name: string;
  /** `left-out`: there were more than the module sends. */
  readonly groups: readonly WindowsGroup[] | "left-out";
}

export interface WindowsGroup {
  readonly sid: string;
  /** `CORP\OrderClerks`; absent when names were not asked for, or the group has none. */
  readonly name?: string;
}

/** Characters of the header. Node's whole head is bounded to 24 KiB by default; the module stops near 13,000. */
const HEADER_MAX = 16_384;
/** The module sends at most 200. */
const GROUPS_MAX = 256;
const VERSION = "v1";
const NO_GROUPS = "none";
const ALL_GROUPS = "all";
const GROUPS_LEFT_OUT = "left-out";

/** Revision, authority, then 1–15 sub-authorities of 32 bits ([MS-DTYP] §2.4.2.1). */
const SID = /^S-1-\d{1,15}(?:-\d{1,10}){1,15}$/;
const NAME = /^[^\p{Cc}\u200e\u200f\u202a-\u202e\u2066-\u2069]{1,256}$/u;

/**
 * Opens the header `Countersign-Identity`. Its payload is base64url of lines: time in milliseconds, nonce, method,
 * authentication type, SID, name, certificate hash, `none`, `all` or `left-out`, then one line for each group, its SID
 * and its name with a tab between. The MAC is HMAC-SHA256 over `v1.<payload>` as it stands.
 *
 * @param keys  32 bytes or more each; two while a key is being replaced
 * @returns `proof_invalid` for a MAC of another key or anything the module does not write. Nothing is said of time,
 *   method and nonce: those are the caller's to judge
 */
export function openSignedIdentity(header: string, keys: readonly Uint8Array[]): Outcome<SignedIdentity> {
  if (header.length > HEADER_MAX) return invalid("an identity from IIS over the size limit");
  const [version, payload = "", mac = "", ...rest] = header.split(".");
  if (version !== VERSION || rest.length > 0) return invalid("an identity from IIS of another version");
  if (!isSigned(`${version}.${payload}`, mac, keys)) return invalid("the signature of IIS");
  const lines = textOf(payload)?.split("\n");
  const signed = lines && readLines(lines);
  return signed ? allowed(signed) : invalid("an identity from IIS that its module does not write");
}

/** Every key is tried, so that the time it takes does not tell which one it was. */
function isSigned(text: string, mac: string, keys: readonly Uint8Array[]): boolean {
  const found = Buffer.from(mac, "base64url");
  if (found.toString("base64url") !== mac) return false;
  let matches = false;
  for (const key of keys) {
    const expected = createHmac("sha256", key).update(text, "latin1").digest();
    if (found.length === expected.length && timingSafeEqual(found, expected)) matches = true;
  }
  return matches;
}

function textOf(payload: string): string | undefined {
  const bytes = Buffer.from(payload, "base64url");
  if (bytes.toString("base64url") !== payload) return undefined;
  const text = bytes.toString("utf8");
  return Buffer.from(text, "utf8").equals(bytes) ? text : undefined;
}

function readLines(lines: readonly string[]): SignedIdentity | undefined {
  const [time = "", nonce = "", method = "", type = "", sid = "", name = "", certificate = ""] = lines;
  if (!/^\d{13}$/.test(time) || !/^[0-9a-f]{32}$/.test(nonce) || !/^[A-Z]{1,32}$/.test(method)) {
    return undefined;
  }
  if (certificate !== "" && !/^[0-9a-f]{64}$/.test(certificate)) return undefined;
  const groups = groupsOf(lines.slice(7));
  if (!groups) return undefined;
  const account = accountOf(type, sid, name, groups);
  if (!account && (type !== "" || sid !== "" || name !== "" || groups.length > 0)) return undefined;
  return {
    signedAt: Number(time) / 1_000,
    nonce,
    method,
    ...(account && { account }),
    ...(certificate !== "" && { certificateHash: certificate }),
  };
}

function accountOf(
  authenticationType: string,
  sid: string,
  name: string,
  groups: WindowsAccount["groups"],
): WindowsAccount | undefined {
  const isWhole = /^[A-Za-z0-9._-]{1,64}$/.test(authenticationType) && SID.test(sid) && NAME.test(name);
  return isWhole ? { authenticationType, sid, name, groups } : undefined;
}

function groupsOf([how, ...lines]: readonly string[]): WindowsAccount["groups"] | undefined {
  if (how !== ALL_GROUPS) {
    if (lines.length > 0) return undefined;
    return how === NO_GROUPS ? [] : how === GROUPS_LEFT_OUT ? GROUPS_LEFT_OUT : undefined;
  }
  if (lines.length > GROUPS_MAX) return undefined;
  const groups: WindowsGroup[] = [];
  for (const line of lines) {
    const [sid = "", name, ...rest] = line.split("\t");
    if (!SID.test(sid) || rest.length > 0 || (name !== undefined && !NAME.test(name))) return undefined;
    groups.push({ sid, ...(name !== undefined && { name }) });
  }
  return groups;
}

function invalid(why: string): Outcome<never> {
  return refused({ reason: "proof_invalid", why });
}

/** How far apart the clocks of IIS and the gateway may be, and how long a request may be on its way. */
export const SIGNED_SECONDS_MAX = 60;

/**
 * Judges whether what was signed belongs to this request, now. Whether it was used before is not judged here.
 *
 * @returns `proof_expired`, `proof_not_yet_valid`, or `proof_invalid` for another method
 */
export function checkSigned(
  signed: SignedIdentity,
  { method, now }: { readonly method: string; readonly now: EpochSeconds },
): Outcome<SignedIdentity> {
  const { signedAt } = signed;
  if (signedAt < now - SIGNED_SECONDS_MAX) {
    return refused({ reason: "proof_expired", expiredAt: signedAt + SIGNED_SECONDS_MAX, now });
  }
  if (signedAt > now + SIGNED_SECONDS_MAX) {
    return refused({ reason: "proof_not_yet_valid", validFrom: signedAt, now });
  }
  return signed.method === method ? allowed(signed) : invalid("an identity from IIS for another method");
}
