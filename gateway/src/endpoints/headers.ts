import type { HeaderList } from "../nats/connection.ts";
import { allowed, type Outcome, type Refusal, refused } from "../refusal.ts";

/** Headers of one message, either way: more than any known convention uses, and well below max_payload. */
export const HEADER_COUNT_MAX = 32;
/** Names and values of one message together, as characters of ASCII. Node's own limit for a whole head is 16 KiB. */
export const HEADER_BYTES_MAX = 8_192;
/** One name. */
export const HEADER_NAME_BYTES_MAX = 128;

/** RFC 9110 §5.6.2, token. Nothing in it can end a line or a name in the NATS protocol. */
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
/** Visible ASCII with inner spaces. Outer ones are trimmed by some NATS clients, which would break the seal. */
const VALUE = /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/;

/**
 * Names that mean something to nats-server, to a verifier or to this gateway. `Nats-Rollup` empties a bucket,
 * `Nats-Msg-Id` poisons deduplication, a second `Seal-Claims` would contradict ours, and a `KV-Operation` deletes.
 */
const OURS = /^(?:nats-|seal-|txn-|countersign-|kv-operation$|traceparent$|tracestate$)/i;

/**
 * Takes the headers of the message out of those of the HTTP request: `Msg-<name>` in lower case, `Content-Type`,
 * and `ce-*` of CloudEvents in binary mode. All others are the hop's own and stay behind.
 *
 * @param rawHeaders  as node:http gives them: name, value, name, value …, duplicates included
 * @returns in order of appearance; or `header_refused`
 * @source CloudEvents 1.0.2 HTTP binding §3.1.3 and NATS binding §3.1.3: both percent-encode alike, but only in
 *   HTTP is `datacontenttype` the Content-Type; in NATS it is `ce-datacontenttype`
 */
export function natsHeadersOf(rawHeaders: readonly string[]): Outcome<HeaderList> {
  const found: [string, string][] = [];
  let contentType: string | undefined;
  let isEvent = false;
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const raw = rawHeaders[i] ?? "";
    const initial = raw.charCodeAt(0) | 0x20;
    // Cheap way past the thirty headers of a browser that are not the message's.
    if (initial !== 0x6d /* m */ && initial !== 0x63 /* c */) continue;
    const name = raw.toLowerCase();
    const value = rawHeaders[i + 1] ?? "";
    if (name === "content-type") {
      if (contentType !== undefined) return refusedHeader(name, "more than one; send one");
      contentType = value;
      found.push(["Content-Type", value]);
    } else if (name.startsWith("ce-")) {
      if (name === "ce-datacontenttype") return refusedHeader(name, "send Content-Type instead");
      isEvent ||= name === "ce-specversion";
      found.push([name, value]);
    } else if (name.startsWith("msg-")) {
      const inner = name.slice(4);
      if (inner === "content-type" || inner.startsWith("ce-")) {
        return refusedHeader(name, `send it as ${inner}`);
      }
      found.push([inner, value]);
    }
  }
  if (isEvent && contentType !== undefined) found.push(["ce-datacontenttype", percentEncode(contentType)]);
  const refusal = refusalOf(found);
  return refusal ? refused(refusal) : allowed(found);
}

/**
 * Takes the headers of one NDJSON line, `headers: {name: value | [value, …]}`, where names keep their case. Those of
 * an event (`ce-specversion` among them) are completed as over HTTP.
 *
 * @param headers  untrusted JSON; undefined = none
 * @returns in order of appearance; or `header_refused`
 */
export function natsHeadersOfLine(headers: unknown): Outcome<HeaderList> {
  if (headers === undefined) return allowed([]);
  if (typeof headers !== "object" || headers === null || Array.isArray(headers)) {
    return refusedHeader("headers", "expected an object of names and values");
  }
  const found: [string, string][] = [];
  for (const [name, given] of Object.entries(headers)) {
    const values: readonly unknown[] = Array.isArray(given) ? given : [given];
    // Counted before the next one is taken, so that a long list costs no more than the bound.
    if (found.length + values.length > HEADER_COUNT_MAX) return refusedHeader(shown(name), TOO_MANY);
    for (const value of values) {
      if (typeof value !== "string")
        return refusedHeader(shown(name), "expected a string or a list of strings");
      found.push([name, value]);
    }
  }
  const [contentType, another] = valuesOf(found, "content-type");
  if (another !== undefined) return refusedHeader("content-type", "more than one; send one");
  if (valuesOf(found, "ce-datacontenttype").length > 0)
    return refusedHeader("ce-datacontenttype", "send Content-Type instead");
  const isEvent = valuesOf(found, "ce-specversion").length > 0;
  if (isEvent && contentType !== undefined) found.push(["ce-datacontenttype", percentEncode(contentType)]);
  const refusal = refusalOf(found);
  return refusal ? refused(refusal) : allowed(found);
}

function valuesOf(headers: HeaderList, wanted: string): string[] {
  return headers.flatMap(([name, value]) => (name.toLowerCase() === wanted ? [value] : []));
}

/** Headers of a message on their way into an HTTP response, and how many had to stay behind. */
export interface HttpHeaders {
  /** Lower-case names: `content-type`, `ce-*`, `msg-*`; a name may repeat. */
  readonly headers: HeaderList;
  /** Those of nats-server, of the seal and of the gateway are not counted; those HTTP cannot carry are. */
  readonly omitted: number;
}

/**
 * Turns the headers of a reply into those of the HTTP response. Whoever answered is not trusted to write HTTP:
 * what is not a token with a printable value, or exceeds the bounds, is left out and counted.
 *
 * The content type comes from whoever answered, too: the endpoint must send `X-Content-Type-Options: nosniff` and
 * a `Content-Security-Policy` with `sandbox`, or a reply of `text/html` would run as a page of our origin.
 */
export function httpHeadersOf(message: HeaderList): HttpHeaders {
  const headers: [string, string][] = [];
  let omitted = 0;
  let bytes = 0;
  let contentType: string | undefined;
  let eventContentType: string | undefined;
  for (const [given, value] of message) {
    const name = given.toLowerCase();
    if (OURS.test(name)) continue;
    bytes += name.length + value.length;
    const repeated = name === "content-type" && contentType !== undefined;
    if (repeated || bytes > HEADER_BYTES_MAX || headers.length >= HEADER_COUNT_MAX || whyNot(name, value)) {
      omitted += 1;
    } else if (name === "content-type") {
      contentType = value;
    } else if (name === "ce-datacontenttype") {
      eventContentType = percentDecode(value);
    } else {
      headers.push([name.startsWith("ce-") ? name : `msg-${name}`, value]);
    }
  }
  const type = contentType ?? eventContentType;
  if (type !== undefined) headers.push(["content-type", type]);
  return { headers, omitted };
}

/** Headers under their names, each as it was first written: one value as a text, several as a list in their order. */
export function valuesByName(headers: HeaderList): ReadonlyMap<string, string | string[]> {
  const found = new Map<string, string | string[]>();
  for (const [name, value] of headers) {
    const former = found.get(name);
    found.set(name, former === undefined ? value : [former, value].flat());
  }
  return found;
}

const TOO_MANY = `more than ${HEADER_COUNT_MAX} headers; send fewer`;

function refusalOf(headers: HeaderList): Refusal | undefined {
  let bytes = 0;
  if (headers.length > HEADER_COUNT_MAX)
    return { reason: "header_refused", header: "headers", why: TOO_MANY };
  for (const [name, value] of headers) {
    const why = OURS.test(name) ? "the gateway and nats-server set this one themselves" : whyNot(name, value);
    if (why !== undefined) return { reason: "header_refused", header: shown(name), why };
    bytes += name.length + value.length;
  }
  if (bytes <= HEADER_BYTES_MAX) return undefined;
  const why = `${bytes} bytes of names and values; send at most ${HEADER_BYTES_MAX}`;
  return { reason: "header_refused", header: "headers", why };
}

function whyNot(name: string, value: string): string | undefined {
  if (name.length > HEADER_NAME_BYTES_MAX) return `the name is longer than ${HEADER_NAME_BYTES_MAX} bytes`;
  if (!TOKEN.test(name)) return "the name is not a token (letters, digits and -._~ among others)";
  if (!VALUE.test(value)) {
    return "the value is empty, starts or ends with a space, or is not printable ASCII; percent-encode it";
  }
  return undefined;
}

function refusedHeader(header: string, why: string): ReturnType<typeof refused> {
  return refused({ reason: "header_refused", header, why });
}

/** A hostile name goes into a record and an answer: cut, and harmless on a terminal. */
function shown(name: string): string {
  return name.slice(0, HEADER_NAME_BYTES_MAX).replace(/[^\x21-\x7e]/g, "?");
}

function percentEncode(value: string): string {
  return value.replace(/[ "%]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
}

/** @returns undefined when what it decodes to is not printable ASCII */
function percentDecode(value: string): string | undefined {
  const plain = value.replace(/%([0-9A-Fa-f]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return VALUE.test(plain) ? plain : undefined;
}
