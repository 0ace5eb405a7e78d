import type { Refusal } from "../refusal.ts";
import { claimOf } from "./headers.ts";
import type { Arrived } from "./hop.ts";

/** By lower-case name. */
export type Claims = ReadonlyMap<string, string>;

/**
 * Takes every header that claims to come from the hop out of a request. Each may stand once: of two, one is a
 * client's, and whichever we read another server may read the other.
 *
 * @returns with a fault for one that stands twice, or has `_` in its name, which no hop writes
 */
export function takeClaims(request: Arrived): { readonly claims: Claims; readonly fault?: Refusal } {
  const { rawHeaders } = request;
  let claims: Map<string, string> | undefined;
  let why: string | undefined;
  let kept = 0;
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] ?? "";
    const value = rawHeaders[at + 1] ?? "";
    const claim = claimOf(name);
    if (claim === undefined) {
      rawHeaders[kept] = name;
      rawHeaders[kept + 1] = value;
      kept += 2;
      continue;
    }
    claims ??= new Map();
    if (name.includes("_")) why ??= UNDERSCORE;
    if (claims.has(claim)) why ??= `more than one ${claim} header`;
    claims.set(claim, value);
    // node:http makes `headers` of `rawHeaders` at its first use, by the length that had; so before that changes.
    delete request.headers[name.toLowerCase()];
  }
  rawHeaders.length = kept;
  return { claims: claims ?? NONE, ...(why !== undefined && { fault: { reason: "proof_malformed", why } }) };
}

const UNDERSCORE = "a header name with an underscore";
const NONE: Claims = new Map();

/** For a listener with nothing in front, and for what a hop does not say: nobody may set such a header. */
export const MADE_UP = "a header that only the gateway or its edge may set";

/** What Windows and Basic authentication of IIS are asked by. */
const SPENT = /^(?:negotiate|ntlm|kerberos|basic)(?: |$)/i;

/**
 * Takes out the `Authorization` by which IIS signed somebody in, or tried to: it goes on to us as the client sent it
 * [1], with a ticket or a password in it, and is no proof that we take.
 *
 * @source [1] dotnet/aspnetcore, forwardinghandler.cpp `GetHeaders`: all raw headers, `Authorization` among them
 */
export function takeSpentAuthorization(request: Arrived): void {
  const { rawHeaders } = request;
  for (let at = rawHeaders.length - 2; at >= 0; at -= 2) {
    if (rawHeaders[at]?.toLowerCase() !== "authorization" || !SPENT.test(rawHeaders[at + 1] ?? "")) continue;
    // As above: `headers` is made before `rawHeaders` changes. It holds the first of several.
    if (SPENT.test(request.headers.authorization ?? "")) delete request.headers.authorization;
    rawHeaders.splice(at, 2);
  }
}

/** All values of a header that a hop appends to, in order. */
export function valuesOf({ rawHeaders }: Arrived, name: string): readonly string[] {
  const values: string[] = [];
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const found = rawHeaders[at] ?? "";
    if (found.length === name.length && found.toLowerCase() === name) values.push(rawHeaders[at + 1] ?? "");
  }
  return values;
}
