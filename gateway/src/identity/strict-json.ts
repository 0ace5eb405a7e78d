/** How deep objects and lists of a token may lie in each other. Real claims need 4. */
const DEPTH_MAX = 8;

/** A JSON value; objects have a null prototype, so that no name of `Object.prototype` is ever found in them. */
export type Json = null | boolean | number | string | readonly Json[] | JsonObject;
export interface JsonObject {
  readonly [name: string]: Json;
}

/**
 * Parses JSON that was written by somebody else and signed: what two parsers could read differently is refused.
 * `JSON.parse` takes the last of two equal names where others take the first, and gives `__proto__` a meaning.
 *
 * The seal has a parser of its own: here configured names of claims are looked up, so objects inherit nothing;
 * there the format says what is read, and its hot path builds each value once, by `JSON.parse`.
 *
 * @param text  the caller bounds its length
 * @returns undefined for what is not a JSON object, for duplicate names, `__proto__`, ill-formed UTF-16 and depth
 *   beyond 8
 * @source  RFC 8259 §4 (names should be unique), RFC 7515 §5.2 (duplicates must be rejected or the last taken)
 */
export function parseStrictJson(text: string): JsonObject | undefined {
  try {
    // The native parser judges the grammar, so that the reader below may take it for granted.
    JSON.parse(text);
    const reader = new Reader(text);
    const value = reader.value(0);
    return isJsonObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

export function isJsonObject(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Reads text that is known to be JSON; throws for what strictness forbids. */
class Reader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  value(depth: number): Json {
    const char = this.#peek();
    if (char === "{") return this.#object(depth + 1);
    if (char === "[") return this.#list(depth + 1);
    return char === '"' ? this.#string() : this.#scalar();
  }

  #object(depth: number): JsonObject {
    bound(depth);
    const object: Record<string, Json> = Object.create(null);
    for (this.#at++; this.#peek() !== "}"; this.#skip(",")) {
      const name = this.#string();
      if (name === "__proto__" || name in object) throw new SyntaxError("a name that may not stand here");
      this.#skip(":");
      object[name] = this.value(depth);
    }
    this.#at++;
    return object;
  }

  #list(depth: number): Json[] {
    bound(depth);
    const list: Json[] = [];
    for (this.#at++; this.#peek() !== "]"; this.#skip(",")) list.push(this.value(depth));
    this.#at++;
    return list;
  }

  #string(): string {
    this.#peek();
    const start = this.#at;
    for (this.#at++; this.#text[this.#at] !== '"'; this.#at++) if (this.#text[this.#at] === "\\") this.#at++;
    this.#at++;
    const value: string = JSON.parse(this.#text.slice(start, this.#at));
    if (!value.isWellFormed()) throw new SyntaxError("ill-formed UTF-16");
    return value;
  }

  #scalar(): Json {
    const start = this.#at;
    while (this.#at < this.#text.length && !",]} \t\n\r".includes(this.#text[this.#at] ?? "")) this.#at++;
    return JSON.parse(this.#text.slice(start, this.#at));
  }

  /** The next character that is not white space. */
  #peek(): string {
    while (" \t\n\r".includes(this.#text[this.#at] ?? "x")) this.#at++;
    return this.#text[this.#at] ?? "";
  }

  #skip(char: string): void {
    if (this.#peek() === char) this.#at++;
  }
}

function bound(depth: number): void {
  if (depth > DEPTH_MAX) throw new RangeError("too deep");
}
