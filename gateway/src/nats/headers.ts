import { type Outcome, type Refusal, refused } from "../refusal.ts";
import type { HeaderList } from "./connection.ts";

/** Received headers beyond this many are not shown: a seal among them is then missing, never doubled. */
const HEADERS_MAX = 256;
/** Longest header block we parse: JetStream's own limit (64 KiB). A longer one shows no headers at all. */
const HEADER_BYTES_MAX = 65_536;
/** Longest subject we send: callers' are at most 256 bytes (endpoints), JetStream's API adds names to them. */
const SUBJECT_CHARACTERS_MAX = 1_024;

const NAME = /^[!-9;-~]{1,256}$/;
const PLAIN_VALUE = /^(?:[!-~](?:[ -~]*[!-~])?)?$/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what must not pass.
const CONTROL = /[\x00-\x1f\x7f-\x9f\u2028\u2029]/;
const SUBJECT = /^[!-)+-=?-~\u00a1-\uffff]+$/;

/** Encodes a header block. The endpoints have judged the names; here nothing may break out of its line. */
export function encodeHeaders(headers: HeaderList): Outcome<Uint8Array> {
  let block = "NATS/1.0\r\n";
  let plain = true;
  for (const [name, value] of headers) {
    if (!NAME.test(name)) return refused(refusedHeader(name, "not a header name"));
    if (!PLAIN_VALUE.test(value)) {
      const why = faultOfValue(value);
      if (why !== undefined) return refused(refusedHeader(name, why));
      plain = false;
    }
    block += `${name}: ${value}\r\n`;
  }
  block += "\r\n";
  return { ok: true, value: Buffer.from(block, plain ? "latin1" : "utf8") };
}

function faultOfValue(value: string): string | undefined {
  if (CONTROL.test(value)) return "its value has a control character or line end";
  if (value.trim() !== value) return "its value begins or ends with a blank, which does not survive the way";
  return value.isWellFormed() ? undefined : "its value is not well-formed Unicode";
}

function refusedHeader(name: string, why: string): Refusal {
  return { reason: "header_refused", header: name.slice(0, 64), why };
}

export interface ReceivedHeaders {
  /** The status nats-server puts into the first line (`503`: no responders), or undefined. */
  readonly status?: number;
  readonly headers: HeaderList;
}

/**
 * Reads a header block that anyone may have written: nats-server forwards it unread. Never throws; a line that
 * is not `name: value` without control characters is left out, as no gateway sends one.
 */
export function parseHeaders(block: Uint8Array): ReceivedHeaders {
  if (block.length > HEADER_BYTES_MAX) return { headers: [] };
  const [first = "", ...lines] = Buffer.from(block.buffer, block.byteOffset, block.length)
    .toString("utf8")
    .split("\r\n");
  const status = /^NATS\/1\.0 (\d{3})(?: |$)/.exec(first)?.[1];
  const headers: [string, string][] = [];
  for (const line of lines) {
    const colon = line.indexOf(":");
    if (colon < 1 || headers.length >= HEADERS_MAX) continue;
    const name = line.slice(0, colon);
    const value = line.slice(colon + 1).trim();
    if (NAME.test(name) && !CONTROL.test(value)) headers.push([name, value]);
  }
  return status === undefined ? { headers } : { status: Number(status), headers };
}

/** @returns in words why nothing may be published under this subject, or undefined */
export function faultOfPublish(subject: string): string | undefined {
  // The one request whose subject names a filter, as it is. A caller's own subject never begins so.
  const names = subject.startsWith("$JS.API.CONSUMER.CREATE.");
  return names ? faultOfSubscription(subject, undefined) : faultOfSubject(subject);
}

/** @returns in words why this is not the subject of one message, or undefined */
export function faultOfSubject(subject: string): string | undefined {
  if (subject.length > SUBJECT_CHARACTERS_MAX) return "too long";
  if (!SUBJECT.test(subject)) return "has a blank, a control character or a wildcard";
  if (subject.startsWith(".") || subject.endsWith(".") || subject.includes("..")) return "has an empty token";
  return subject.isWellFormed() ? undefined : "not well-formed Unicode";
}

/** @returns in words why this cannot be subscribed to, or undefined */
export function faultOfSubscription(subject: string, queue: string | undefined): string | undefined {
  const tokens = subject.split(".");
  const literal = tokens.map((token, index) =>
    token === "*" || (token === ">" && index === tokens.length - 1) ? "w" : token,
  );
  // nats-core writes the queue name into the control line as it is.
  if (queue !== undefined && faultOfSubject(queue) !== undefined) return "its queue is not a queue name";
  return faultOfSubject(literal.join("."));
}
