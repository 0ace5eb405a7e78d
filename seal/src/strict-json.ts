const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COLON = 0x3a;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export interface JsonBounds {
  readonly bytesMax: number;
  readonly depthMax: number;
}

/**
 * Parses JSON (RFC 8259) that has one meaning for every reader: no duplicate keys, where parsers take the first,
 * the last or neither; valid UTF-8 without byte order mark; bounded in size and depth.
 *
 * The gateway reads tokens with a stricter one of its own (identity/strict-json.ts): it may refuse what it likes of
 * a provider, while what this one takes is the format, and every other language's verifier must take the same.
 *
 * @returns undefined when it is anything else
 */
export function parseStrictJson(bytes: Uint8Array, bounds: JsonBounds): unknown {
  if (bytes.byteLength > bounds.bytesMax) return undefined;
  try {
    const text = utf8.decode(bytes);
    const value: unknown = JSON.parse(text);
    return hasOneMeaning(text, bounds.depthMax) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Walks text that JSON.parse has accepted, so that strings and nesting are known to be well-formed. */
function hasOneMeaning(text: string, depthMax: number): boolean {
  /** Keys of the objects that enclose the position; arrays hold an empty place. */
  const enclosing: (Set<string> | undefined)[] = [];
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === OPEN_BRACE || code === OPEN_BRACKET) {
      if (enclosing.length === depthMax) return false;
      enclosing.push(code === OPEN_BRACE ? new Set() : undefined);
    } else if (code === CLOSE_BRACE || code === CLOSE_BRACKET) {
      enclosing.pop();
    } else if (code === QUOTE) {
      const end = stringEnd(text, at);
      if (isKey(text, end)) {
        const keys = enclosing.at(-1);
        const raw = text.slice(at + 1, end);
        // "\u0073ub" and "sub" are the same key.
        const key: string = raw.includes("\\") ? JSON.parse(text.slice(at, end + 1)) : raw;
        if (keys === undefined || keys.has(key)) return false;
        keys.add(key);
      }
      at = end;
    }
  }
  return true;
}

function stringEnd(text: string, start: number): number {
  let at = start + 1;
  while (text.charCodeAt(at) !== QUOTE) at += text.charCodeAt(at) === BACKSLASH ? 2 : 1;
  return at;
}

/** A string is a key when a colon follows it, white space aside. */
function isKey(text: string, end: number): boolean {
  let at = end + 1;
  while (text.charCodeAt(at) <= 0x20) at++;
  return text.charCodeAt(at) === COLON;
}
