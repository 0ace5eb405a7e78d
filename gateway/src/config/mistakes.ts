import { type Document, isMap, isNode, isScalar, type LineCounter, visit } from "yaml";
import type { z } from "zod";
import { shown } from "./values.ts";

/** One thing to mend in the file. */
export interface Mistake {
  /** As it was given. */
  readonly file: string;
  /** 1-based. */
  readonly line: number;
  /** 1-based, in UTF-16 units. */
  readonly column: number;
  /** The key, what was found, and what would be right; never a secret. */
  readonly text: string;
}

/** A parsed file and where its lines begin. */
export interface Place {
  readonly file: string;
  readonly document: Document;
  readonly lines: LineCounter;
}

/** More are a wrong file. */
const MISTAKES_MAX = 100;

const NAME_CHARACTERS_MAX = 160;

type Path = readonly PropertyKey[];

export function mistakesOfYaml(place: Place): readonly Mistake[] {
  return place.document.errors
    .slice(0, MISTAKES_MAX)
    .map(({ message, pos: [offset] }) =>
      mistakeAt(place, offset, `not well-formed YAML: ${withoutQuote(message)}`),
    );
}

/** Keys that are maps or lists: YAML has them, no configuration does, and as text they would show what is in them. */
export function mistakesOfKeys(place: Place): readonly Mistake[] {
  const mistakes: Mistake[] = [];
  visit(place.document, {
    Pair(_, { key }) {
      if (isScalar(key) || mistakes.length >= MISTAKES_MAX) return;
      const offset = isNode(key) ? (key.range?.[0] ?? 0) : 0;
      mistakes.push(mistakeAt(place, offset, "expected a key of text; found a map, a list or an alias"));
    },
  });
  return mistakes;
}

export function tooDeep(place: Place): Mistake {
  return mistakeAt(place, 0, "nested too deep, or with too many aliases");
}

/** Our words where a schema has none of its own, for `safeParse`. */
export function fallbackText(issue: z.core.$ZodRawIssue): string | undefined {
  const { code, input } = issue;
  if (code === "invalid_type") {
    if (input === undefined) return "is missing";
    const expected = KINDS[issue.expected] ?? issue.expected;
    return `expected ${expected}; found ${shown(input)}`;
  }
  if (code === "invalid_union" && input === undefined) return "is missing";
  if (code === "too_big") return `expected at most ${issue.maximum}`;
  if (code === "too_small") return `expected at least ${issue.minimum}`;
  return undefined;
}

const KINDS: Readonly<Record<string, string>> = {
  object: "a map",
  record: "a map",
  array: "a list",
  string: "text",
  boolean: "true or false",
};

/** @returns in the order of the file */
export function mistakesOfSchema(issues: readonly z.core.$ZodIssue[], place: Place): readonly Mistake[] {
  return issues
    .flatMap((issue) => flatten(issue, []))
    .map(({ path, key, text }) => {
      const name = plain([...path, ...(key === undefined ? [] : [key])].map(String).join("."));
      const offset =
        key === undefined ? offsetOf(place.document, path) : offsetOfKey(place.document, path, key);
      return mistakeAt(place, offset, name === "" ? text : `${name}: ${text}`);
    })
    .sort((a, b) => a.line - b.line || a.column - b.column)
    .slice(0, MISTAKES_MAX);
}

/** Keys are anybody's text, too. */
function plain(name: string): string {
  return name.replace(/\p{Cc}/gu, "?").slice(0, NAME_CHARACTERS_MAX);
}

interface Flat {
  readonly path: Path;
  /** The mistake is a key of the map at `path`, not a value. */
  readonly key?: string;
  readonly text: string;
}

/** Takes apart what zod reports together: several unknown keys, a key of a record, the branches of a union. */
function flatten(issue: z.core.$ZodIssue, before: Path): readonly Flat[] {
  const path = [...before, ...issue.path];
  if (issue.code === "unrecognized_keys") {
    const texts = issue.message.split("\n");
    return issue.keys.map((key, index) => ({ path, key, text: texts[index] ?? issue.message }));
  }
  if (issue.code === "invalid_key") {
    const key = String(path.at(-1));
    return [{ path: path.slice(0, -1), key, text: issue.issues[0]?.message ?? issue.message }];
  }
  if (issue.code === "invalid_union") {
    // The branch that got beyond the kind of value is the one that was meant.
    const meant = issue.errors.find((branch) =>
      branch.some(({ path: inner, code }) => inner.length > 0 || isOurs(code)),
    );
    return meant ? meant.flatMap((inner) => flatten(inner, path)) : [{ path, text: issue.message }];
  }
  return [{ path, text: issue.message }];
}

function isOurs(code: z.core.$ZodIssue["code"]): boolean {
  return code === "custom" || code === "unrecognized_keys";
}

/** Where the value stands; for one that is missing, where the map stands that lacks it. */
function offsetOf(document: Document, path: Path): number {
  for (let length = path.length; length > 0; length -= 1) {
    const node = document.getIn(path.slice(0, length), true);
    if (isNode(node) && node.range) return node.range[0];
  }
  return document.contents?.range?.[0] ?? 0;
}

function offsetOfKey(document: Document, path: Path, key: string): number {
  const map = path.length === 0 ? document.contents : document.getIn(path, true);
  if (isMap(map)) {
    for (const pair of map.items) {
      if (isScalar(pair.key) && String(pair.key.value) === key && pair.key.range) return pair.key.range[0];
    }
  }
  return offsetOf(document, path);
}

function mistakeAt({ file, lines }: Place, offset: number, text: string): Mistake {
  const { line, col } = lines.linePos(offset);
  return { file, line: Math.max(1, line), column: Math.max(1, col), text };
}

/** Without the piece of the file that some messages quote: it might be a secret. */
function withoutQuote(message: string): string {
  const [first = ""] = message.split("\n");
  return first.replace(/: ".*$/, "").slice(0, 160);
}
