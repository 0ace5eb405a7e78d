import { isAlias, isMap, isScalar, isSeq, Lexer, LineCounter, type Node, parseDocument } from "yaml";
import { didYouMean } from "../near.ts";
import { clip, type PolicyLine, parseLine } from "./line.ts";
import type { Mistake, PolicyFile } from "./policy.ts";

/** Brackets and braces open at once; a policy needs three. */
const FLOW_DEPTH_MAX = 16;
/** Twenty thousand rules are about 150,000. */
const YAML_TOKENS_MAX = 400_000;

/** A value somewhere in the file; `null` stands where YAML has nothing after the colon. */
export type Value = Node | null;

export interface Entry {
  readonly key: string;
  readonly keyNode: Node;
  readonly value: Value;
  /** Where to point when the value itself is absent. */
  readonly place: Node;
}

/**
 * One YAML file, walked node by node so that every mistake has its place. Anchors, aliases, tags and merge keys
 * are refused: each rule of a policy must read as it applies, and without aliases nothing can grow.
 */
export class Source {
  readonly file: string;
  readonly #text: string;
  readonly #lines = new LineCounter();
  readonly #mistakes: Mistake[];

  constructor(file: PolicyFile, mistakes: Mistake[]) {
    this.file = file.path;
    this.#text = file.text;
    this.#mistakes = mistakes;
  }

  /** The document's root; null, with the mistakes noted, when it is not YAML that can be walked. */
  root(): Value {
    const excess = excessOf(this.#text);
    if (excess) {
      this.mistakeAt(0, excess);
      return null;
    }
    // Duplicate keys are found in `entries`, since the parser's own search is quadratic.
    const options = { lineCounter: this.#lines, prettyErrors: false, uniqueKeys: false };
    const document = parseDocument(this.#text, options);
    const faults = [...document.errors, ...document.warnings];
    for (const { pos, code, message } of faults) {
      this.mistakeAt(pos[0], yamlMistake(code, message, this.#lineAround(pos[0])));
    }
    return faults.length > 0 ? null : (document.contents as Value);
  }

  /** Entries of a map, each key once and a plain word; what is none of this is a mistake. */
  entries(value: Value, place: Node | undefined, what: string): Entry[] {
    if (!this.#plain(value, what)) return [];
    if (!isMap(value)) {
      this.mistake(value ?? place, `${what} ${found(value)}; write "key: value" lines`);
      return [];
    }
    const entries: Entry[] = [];
    const seen = new Set<string>();
    for (const pair of value.items) {
      const keyNode = pair.key as Node;
      if (!this.#plain(keyNode, `a key of ${what}`)) continue;
      if (isScalar(keyNode) && typeof keyNode.value === "string" && keyNode.value !== "<<") {
        if (seen.has(keyNode.value)) {
          this.mistake(
            keyNode,
            `"${clip(keyNode.value)}" stands twice in ${what}; which of the two counts would be a guess`,
          );
        }
        seen.add(keyNode.value);
        entries.push({ key: keyNode.value, keyNode, value: pair.value as Value, place: keyNode });
      } else {
        this.mistake(
          keyNode,
          `a key of ${what} ${found(keyNode)}; keys are words, quoted where YAML reads them otherwise`,
        );
      }
    }
    return entries;
  }

  /** Items of a list; a single value stands for a list of one where `oneAlone` says so. */
  items(value: Value, place: Node | undefined, what: string, oneAlone = false): Node[] {
    if (!this.#plain(value, what)) return [];
    if (isSeq(value)) return value.items as Node[];
    if (oneAlone && isScalar(value) && value.value !== null) return [value];
    this.mistake(value ?? place, `${what} ${found(value)}; write a list: "- …" lines or [ …, … ]`);
    return [];
  }

  /** A text; numbers and truth values are refused, because what they were written as is lost (007, 1e3, yes). */
  string(value: Value, place: Node | undefined, what: string): string | undefined {
    if (!this.#plain(value, what)) return undefined;
    if (isScalar(value) && typeof value.value === "string" && value.value !== "") {
      if (value.value.length <= 512 && !/\p{Cc}/u.test(value.value) && value.value.isWellFormed()) {
        return value.value;
      }
      this.mistake(value, `${what} is longer than 512 characters or has control characters`);
      return undefined;
    }
    const number = isScalar(value) && /^(number|bigint|boolean)$/.test(typeof value.value);
    const written = number
      ? ` ${clip(this.textOf(value))} without quotes, which YAML reads as a ${typeof value.value}`
      : "";
    const right = number ? `write '${clip(this.textOf(value))}'` : "write a text";
    this.mistake(value ?? place, `${what} ${written ? `is${written}` : found(value)}; ${right}`);
    return undefined;
  }

  /** One text where a list would be ambiguous. */
  single(entry: Entry, what: string): string | undefined {
    if (isSeq(entry.value)) {
      this.mistake(
        entry.value,
        `${entry.key} in ${what} is a list; write one value, and one line for each alternative`,
      );
      return undefined;
    }
    return this.string(entry.value, entry.place, `${entry.key} in ${what}`);
  }

  /** One text or a list of some. */
  strings(entry: Entry, what: string): string[] {
    const items = this.items(entry.value, entry.place, what, true);
    if (items.length === 0 && isSeq(entry.value))
      this.mistake(entry.value, `${what} is an empty list, which holds for everybody`);
    return items.map((item) => this.string(item, entry.place, what)).filter((text) => text !== undefined);
  }

  /** A scalar as the file spells it, without quotes: for limits, where a number is as good as a text. */
  written(entry: Entry): string | undefined {
    const { value } = entry;
    return this.#plain(value, entry.key) && isScalar(value) && value.value !== null
      ? String(value.value)
      : undefined;
  }

  oneOf<T extends string>(entry: Entry, choices: readonly T[]): T | undefined {
    const text = this.string(entry.value, entry.place, entry.key);
    if (text === undefined) return undefined;
    const choice = choices.find((candidate) => candidate === text);
    const right =
      choices.length === 1 ? `only "${choices[0]}" may stand here` : `write one of ${choices.join(", ")}`;
    if (!choice)
      this.mistake(entry.value, `${entry.key} is "${clip(text)}"${didYouMean(text, choices)}; ${right}`);
    return choice;
  }

  unknownKey(entry: Entry, what: string, known: readonly string[]): void {
    const hint = didYouMean(entry.key, known);
    this.mistake(
      entry.keyNode,
      `"${clip(entry.key)}" is not a key of ${what}${hint}; its keys are ${known.join(", ")}`,
    );
  }

  /** Notes that the file has nothing, unless it is known already why it could not be read. */
  missing(message: string): void {
    if (!this.#mistakes.some((mistake) => mistake.file === this.file)) this.mistakeAt(0, message);
  }

  /** An action line of `may`, `never`; each fault at its own column. */
  actionLine(value: Value, place: Node | undefined, what: string, role?: string): PolicyLine | undefined {
    if (!isScalar(value) || typeof value.value !== "string") {
      this.mistake(value ?? place, `${what} ${misread(value)}`);
      return undefined;
    }
    if (!this.#plain(value, what)) return undefined;
    const parsed = parseLine(value.value, { templates: true });
    if (!parsed.ok) {
      for (const fault of parsed.faults) this.lineFault(value, fault.offset, fault.message);
      return undefined;
    }
    return {
      ...parsed.line,
      rule: { ...(role !== undefined && { role }), text: value.value.trim(), ...this.place(value) },
    };
  }

  /** A fault inside a scalar. Its column is exact where the scalar is written as it reads. */
  lineFault(value: Node, offset: number, message: string): void {
    const start = value.range?.[0] ?? 0;
    const text = isScalar(value) && typeof value.value === "string" ? value.value : "";
    const quote = /^["']/.test(this.#text.charAt(start)) ? 1 : 0;
    const verbatim = this.#text.startsWith(text, start + quote);
    this.mistakeAt(verbatim ? start + quote + offset : start, `"${clip(text)}" ${message}`);
  }

  mistake(node: Node | null | undefined, message: string): void {
    this.mistakeAt(node?.range?.[0] ?? 0, message);
  }

  mistakeAt(offset: number, message: string): void {
    const { line, col } = this.#lines.linePos(offset);
    this.#mistakes.push({ file: this.file, line: Math.max(line, 1), column: Math.max(col, 1), message });
  }

  place(node: Node): { readonly file: string; readonly line: number } {
    return { file: this.file, line: this.position(node).line };
  }

  position(node: Node): { readonly line: number; readonly column: number } {
    const { line, col } = this.#lines.linePos(node.range?.[0] ?? 0);
    return { line, column: col };
  }

  /** The value as the file spells it. */
  textOf(node: Node): string {
    return this.#text.slice(node.range?.[0] ?? 0, node.range?.[1] ?? 0);
  }

  #plain(value: Value, what: string): boolean {
    if (isAlias(value)) {
      this.mistake(
        value,
        `${what} is the alias "*${clip(value.source)}"; a policy has no aliases: quote the text or write it out`,
      );
      return false;
    }
    const { anchor, tag } = (value ?? {}) as { readonly anchor?: string; readonly tag?: string };
    if (anchor === undefined && tag === undefined) return true;
    this.mistake(value, `${what} has an anchor or a tag; a policy has neither`);
    return false;
  }

  #lineAround(offset: number): string {
    const start = this.#text.lastIndexOf("\n", offset - 1) + 1;
    const end = this.#text.indexOf("\n", offset);
    return this.#text.slice(start, end === -1 ? undefined : end).slice(0, 1_024);
  }
}

/**
 * What makes a text unfit for the YAML parser, which recurses: deep nesting ends the process (`? ` repeated) or
 * takes minutes. Measured on 1 MiB of each indicator; what passes here is parsed in seconds and bounded memory.
 */
function excessOf(text: string): string | undefined {
  const deep = "is nested too deeply to be a policy";
  if (/(?:[-?:][ \t]+){9}|^[ \t]{101}/m.test(text)) return deep;
  let depth = 0;
  let tokens = 0;
  let previous = "";
  for (const token of new Lexer().lex(text)) {
    if (++tokens > YAML_TOKENS_MAX)
      return "has more of YAML in it than any policy needs; divide it into several files";
    // U+001F announces a scalar, which may itself be spelled like a bracket.
    if (previous !== "\x1f") {
      if (token === "[" || token === "{") depth++;
      if (token === "]" || token === "}") depth--;
      if (depth > FLOW_DEPTH_MAX) return deep;
    }
    previous = token;
  }
  return undefined;
}

/** What stands where something else was expected. */
function found(value: Value): string {
  if (value === null) return "is empty";
  if (isMap(value)) return "is a map";
  if (isSeq(value)) return "is a list";
  if (isScalar(value)) {
    if (value.value === null || value.value === "") return "is empty";
    return `is ${clip(JSON.stringify(String(value.value)))}`;
  }
  return "is not what is expected here";
}

/** Where YAML reads something else than the line that was meant. */
function misread(value: Value): string {
  const right = `a line begins with its verb: publish orders.{region}.>`;
  if (isAlias(value)) return `is read by YAML as an alias, because it begins with "*"; ${right}`;
  if (isMap(value)) {
    return `is read by YAML as a map; ${right}, has no ": " in it, and needs quotes inside [ … ] when it has a template`;
  }
  if (isSeq(value)) return `is a list inside the list; ${right}`;
  return `${found(value)}; ${right}`;
}

function yamlMistake(code: string, message: string, line: string): string {
  if (code === "MULTIPLE_DOCS") return "begins a second document; one file holds one";
  const said = `is not YAML: ${message.replace(/\s+/g, " ").replace(/ at line .*$/, "")}`;
  const template = /\[.*\{/.test(line);
  return template
    ? `${said}. Inside [ … ] a line with a template or a list needs quotes: 'publish orders.{region}.>'`
    : said;
}
