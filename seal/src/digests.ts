import { hash } from "node:crypto";
import type { HeaderList } from "./claims.ts";

/** RFC 9110 §5.6.2, token: it holds no colon, so that name and value cannot be divided in two ways. */
const NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
/** Printable ASCII with inner spaces. Clients trim outer ones, and some split lines at a bare LF. */
const VALUE = /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/;

const UNCOVERED = /^(?:nats-|seal-|txn-|traceparent$|tracestate$)/i;

/** @returns base64url SHA-256 of the payload's bytes, 43 characters: the claim `tctx.msg.d` */
export function payloadDigest(payload: Uint8Array): string {
  return hash("sha256", payload, "base64url");
}

/**
 * Whether the seal covers a header of this name: the caller's headers, `Content-Type`, `KV-Operation`; everything
 * but, in any case, `Nats-*` (nats-server's, which adds some on its way; `Nats-Msg-Id` is compared by itself),
 * `Seal-*` and `Txn-*` (the seal), `traceparent` and `tracestate` (rewritten at each hop).
 */
export function isCovered(name: string): boolean {
  return !UNCOVERED.test(name);
}

/**
 * The claim `tctx.msg.h`. Each covered header is a line `name: value` and LF, the name in the case it travels in;
 * a name that repeats gives a line for each value; the lines are sorted by their bytes and joined; base64url
 * SHA-256 of that, of the empty string when no header is covered.
 *
 * @returns undefined when a covered header cannot be sealed: its name is not a token, or its value is empty, begins
 *          or ends with a space, or is not printable ASCII
 */
export function headersDigest(headers: HeaderList): string | undefined {
  const lines: string[] = [];
  for (const [name, value] of headers) {
    if (!isCovered(name)) continue;
    if (!NAME.test(name) || !VALUE.test(value)) return undefined;
    lines.push(`${name}: ${value}\n`);
  }
  // All of it is ASCII, so that the order of UTF-16 units is the order of bytes.
  return hash("sha256", lines.sort().join(""), "base64url");
}
