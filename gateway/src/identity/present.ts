import type { Vouched } from "../hop/hop.ts";
import { allowed, type Outcome, refused } from "../refusal.ts";
import { isSessionId } from "./cookie.ts";
import type { Presented, Proof } from "./identity.ts";

/** Header fields of one request. Browsers send about 20; the HTTP parser bounds their bytes. */
const HEADERS_MAX = 128;
/** Bytes of a bearer token. Larger ones are mostly lists of groups, which no policy wants to see (default). */
export const TOKEN_BYTES_MAX = 8_192;
/** The most that may be configured: beyond it HTTP servers on the way refuse the header anyway. */
export const TOKEN_BYTES_CEILING = 16_384;

export interface RequestHead {
  readonly method: string;
  /** As node gives them: name, value, name, value, in order, duplicates kept. */
  readonly rawHeaders: readonly string[];
  /** From `cookieNameOf`. */
  readonly cookieName: string;
  /** Bytes, up to `TOKEN_BYTES_CEILING`. Default `TOKEN_BYTES_MAX`. */
  readonly tokenBytesMax?: number;
  /** What a proven hop says of the caller; its headers are no longer among the others. */
  readonly vouched?: Vouched;
}

/**
 * Reads from a request's headers everything that bears on who sent it, believing none of it. Whatever could be
 * read in two ways is refused: another server on the way may have read it the other way.
 *
 * @returns `proof_malformed` for duplicates of what may stand once, names with `_`, headers that only we set;
 *   `proof_invalid` for a token or cookie outside its grammar; `proof_missing` for another scheme than Bearer
 * @source  RFC 6750 §2.1, §3.1 (a malformed token is an invalid one, another scheme is none); RFC 9110 §5.3 (duplicates); IIS turns `-` into `_` (`HTTP_X_USER`), where names collide
 */
export function parsePresented(head: RequestHead): Outcome<Presented> {
  const raw = head.rawHeaders;
  if (raw.length > 2 * HEADERS_MAX) return malformed(`more than ${HEADERS_MAX} headers`);
  const seen: Seen = {};
  const proofs: Proof[] = vouchedProofs(head.vouched);
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i] ?? "";
    if (name.includes("_")) return malformed("a header name with an underscore");
    const field = fieldOf(name);
    if (field === undefined) continue;
    const value = raw[i + 1] ?? "";
    if (field === "cookie") {
      const refusal = readCookies(value, head.cookieName, proofs);
      if (refusal) return refusal;
      continue;
    }
    if (field === "ours") return malformed("a header that only the gateway or its edge may set");
    if (seen[field] !== undefined) return malformed(`more than one ${field} header`);
    seen[field] = value;
    if (field !== "authorization") continue;
    const token = bearerOf(value);
    if (token === undefined) return refused({ reason: "proof_missing", why: "another scheme than Bearer" });
    if (token === "") return invalid("a Bearer without a token");
    if (token.length > (head.tokenBytesMax ?? TOKEN_BYTES_MAX)) return invalid("a token over the size limit");
    proofs.push({ kind: "bearer", token });
  }
  return allowed({
    proofs,
    method: head.method,
    origin: seen.origin ?? null,
    fetchSite: seen["sec-fetch-site"] ?? null,
    navigation: seen["sec-fetch-mode"] === "navigate" && seen["sec-fetch-dest"] === "document",
    deliberate: seen["countersign-request"] === "1",
  });
}

function vouchedProofs({ signed, certificate, easyAuth }: Vouched = {}): Proof[] {
  const proofs: Proof[] = [];
  if (signed?.account) proofs.push({ kind: "windows", signed });
  if (certificate) proofs.push({ kind: "certificate", der: certificate, ...(signed && { signed }) });
  if (easyAuth !== undefined) proofs.push({ kind: "easy-auth", principal: easyAuth });
  return proofs;
}

type SingleField =
  | "authorization"
  | "origin"
  | "sec-fetch-site"
  | "sec-fetch-mode"
  | "sec-fetch-dest"
  | "countersign-request";

type Seen = { [field in SingleField]?: string };

/** By length first: most headers of a request are none of these, and this runs once for each. */
function fieldOf(name: string): SingleField | "cookie" | "ours" | undefined {
  switch (name.length) {
    case 6: {
      const lower = name.toLowerCase();
      return lower === "origin" || lower === "cookie" ? lower : oursOrNone(name);
    }
    case 9:
      return name.toLowerCase() === "txn-token" ? "ours" : oursOrNone(name);
    case 13: {
      const lower = name.toLowerCase();
      return lower === "authorization" ? lower : oursOrNone(name);
    }
    case 14: {
      const lower = name.toLowerCase();
      return lower === "sec-fetch-site" || lower === "sec-fetch-mode" || lower === "sec-fetch-dest"
        ? lower
        : oursOrNone(name);
    }
    case 19: {
      const lower = name.toLowerCase();
      return lower === "countersign-request" ? lower : oursOrNone(name);
    }
    case 20:
      return name.toLowerCase() === "countersign-identity" ? "ours" : oursOrNone(name);
    default:
      return oursOrNone(name);
  }
}

function oursOrNone(name: string): "ours" | undefined {
  return name.charCodeAt(4) === 0x2d && name.slice(0, 5).toLowerCase() === "seal-" ? "ours" : undefined;
}

/**
 * @returns what follows the scheme, empty when nothing does; undefined for another one; the scheme in any case (RFC 9110 §11.4). The token's own grammar
 *   is looked at when it is verified: here, on every request, it would be read twice.
 */
function bearerOf(value: string): string | undefined {
  if (!/^bearer(?: |$)/i.test(value)) return undefined;
  return value.slice(7).trim();
}

/**
 * Finds our cookie in one Cookie header and adds it to the proofs.
 *
 * @returns why it is refused: there twice (a sibling host or a plain-HTTP page may have planted one of them),
 *   under a twin of its name in another case, or not in the form of a session id
 */
function readCookies(header: string, cookieName: string, proofs: Proof[]): Refused | undefined {
  for (const pair of header.split(";")) {
    const equals = pair.indexOf("=");
    if (equals < 0) continue;
    const name = pair.slice(0, equals).trim();
    if (name.length !== cookieName.length) continue;
    if (name !== cookieName) {
      if (name.toLowerCase() === cookieName.toLowerCase())
        return malformed("a twin of the session cookie's name");
      continue;
    }
    if (proofs.some((proof) => proof.kind === "session")) return malformed("more than one session cookie");
    const id = pair.slice(equals + 1).trim();
    if (!isSessionId(id)) return invalid("a session cookie that is not a session id");
    proofs.push({ kind: "session", id });
  }
  return undefined;
}

type Refused = ReturnType<typeof refused>;

function malformed(why: string): Refused {
  return refused({ reason: "proof_malformed", why });
}

function invalid(why: string): Refused {
  return refused({ reason: "proof_invalid", why });
}
