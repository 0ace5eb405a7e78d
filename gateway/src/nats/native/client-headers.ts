import { allowed, type Outcome, refused } from "../../refusal.ts";
import type { HeaderList } from "../connection.ts";

/** As over HTTP: more than any known convention uses. */
const HEADERS_MAX = 32;
const HEADER_BYTES_MAX = 8_192;
const VERSION_LINE = "NATS/1.0\r\n";

/** RFC 9110 §5.6.2, token; a blank after the colon or none; visible ASCII with inner spaces, which alone can be sealed. */
const LINE = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]{1,128}): ?([\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?) *$/;

/**
 * Reads the header block of an HPUB by the strict grammar that every reader of it agrees on: nats-server passes it on
 * unread, and a bare LF, a status or a line without a colon is read by one client this way and by another that way.
 *
 * @returns the headers in their order and case, or `header_refused`
 */
export function parseClientHeaders(block: Buffer): Outcome<HeaderList> {
  if (block.length > HEADER_BYTES_MAX) return no("headers", `at most ${HEADER_BYTES_MAX} bytes`);
  const text = block.toString("latin1");
  if (!text.startsWith(VERSION_LINE) || !text.endsWith("\r\n\r\n"))
    return no("headers", "expected NATS/1.0, one header a line, and an empty line");
  if (text.length === VERSION_LINE.length + 2) return allowed([]);
  const lines = text.slice(VERSION_LINE.length, -4).split("\r\n");
  if (lines.length > HEADERS_MAX) return no("headers", `at most ${HEADERS_MAX} headers`);
  const headers: [string, string][] = [];
  for (const line of lines) {
    const [, name, value] = LINE.exec(line) ?? [];
    if (name === undefined || value === undefined) {
      const shown = line.slice(0, Math.max(0, line.indexOf(":"))).replace(/[^!-~]/g, "?");
      return no(
        shown.slice(0, 64),
        "expected a token, a colon and printable ASCII; percent-encode the value",
      );
    }
    headers.push([name, value]);
  }
  return allowed(headers);
}

/** What a message's own headers ask of nats-server and of us, apart from what they carry. */
export interface JudgedHeaders {
  /** What travels as the client wrote it, under the seal. */
  readonly carried: HeaderList;
  /** Preconditions for nats-server, which no seal covers. */
  readonly conditions: HeaderList;
  /** The client's own name for the message, which makes a repetition one. */
  readonly key: string | undefined;
}

/** `…-Subject-Sequence-Subject` and `-Last-Msg-Id` are not here: they ask about other subjects and others' messages. */
const CONDITIONS: ReadonlySet<string> = new Set([
  "nats-expected-stream",
  "nats-expected-last-sequence",
  "nats-expected-last-subject-sequence",
]);

/**
 * Judges a message's headers by one list of what may pass. `Nats-Rollup` empties a stream, `Nats-TTL` and
 * `Nats-Schedule` act beyond the message, `Nats-Trace-Dest` tells of servers and subscribers, `Seal-*` and `Txn-*` would
 * contradict the seal, `KV-Operation` deletes. A trace is restarted here: the client's own is left out.
 */
export function judgeHeaders(headers: HeaderList): Outcome<JudgedHeaders> {
  const carried: [string, string][] = [];
  const conditions: [string, string][] = [];
  let key: string | undefined;
  for (const [name, value] of headers) {
    const lower = name.toLowerCase();
    if (lower === "traceparent" || lower === "tracestate") continue;
    if (lower === "nats-msg-id") {
      if (key !== undefined) return no(name, "more than one; send one");
      key = value;
    } else if (CONDITIONS.has(lower)) {
      if (conditions.some(([other]) => other.toLowerCase() === lower))
        return no(name, "more than one; send one");
      conditions.push([name, value]);
    } else if (/^(?:nats-|seal-|txn-|countersign-|kv-operation$)/.test(lower)) {
      return no(name, "the gateway and nats-server set this one themselves");
    } else {
      carried.push([name, value]);
    }
  }
  return allowed({ carried, conditions, key });
}

function no(header: string, why: string): ReturnType<typeof refused> {
  return refused({ reason: "header_refused", header, why });
}
