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
  // nats.js writes headers that it was given and that are none as a block of no bytes.
  if (block.length === 0) return allowed([]);
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

function no(header: string, why: string): ReturnType<typeof refused> {
  return refused({ reason: "header_refused", header, why });
}
