import { checkSubject, isReservedSubject } from "@countersign/seal";
import { didYouMean } from "../near.ts";
import type { RuleRef } from "../refusal.ts";
import { LIMITS } from "./limits.ts";

export type Verb =
  | "publish"
  | "request"
  | "respond"
  | "subscribe"
  | "read-stream"
  | "read-kv"
  | "write-kv"
  | "connect"
  | "read-audit"
  | "end-sessions"
  | "push-policy";

/** A verb and its object as a policy writes them: a line of `may` or `never`. */
export interface LineShape {
  readonly verb: Verb;
  /** Subject or keys, with `*`, `>` and templates `{attribute}`; empty for verbs without. */
  readonly pattern: string;
  readonly queue?: string;
  readonly stream?: string;
  /** Names declared with `consumers [a, b]`; absent = numbered consumers. */
  readonly consumers?: readonly string[];
  readonly bucket?: string;
  readonly way?: Way;
}

export interface PolicyLine extends LineShape {
  readonly rule: RuleRef;
}

export type Way = "native" | "direct" | "mqtt";

/** What is wrong, and at which character of the line (0-based). */
export interface LineFault {
  readonly offset: number;
  readonly message: string;
}

export type LineOutcome =
  | { readonly ok: true; readonly line: LineShape }
  | { readonly ok: false; readonly faults: readonly LineFault[] };

export interface LineRules {
  /** Whether `{attribute}` may stand for a token: in a policy, not in an action. */
  readonly templates: boolean;
}

/** How each verb is written, for messages and help. */
export const VERB_FORMS: Readonly<Record<Verb, string>> = {
  publish: "publish SUBJECT",
  request: "request SUBJECT",
  respond: "respond SUBJECT [queue QUEUE]",
  subscribe: "subscribe SUBJECT [queue QUEUE]",
  "read-stream": "read-stream STREAM SUBJECTS [consumers [NAME, …]]",
  "read-kv": "read-kv BUCKET KEYS",
  "write-kv": "write-kv BUCKET KEYS",
  connect: "connect native|direct|mqtt",
  "read-audit": "read-audit",
  "end-sessions": "end-sessions",
  "push-policy": "push-policy",
};

export const VERBS: readonly Verb[] = Object.keys(VERB_FORMS) as Verb[];

const WAYS: readonly Way[] = ["native", "direct", "mqtt"];
/** A name in a policy: stream, bucket, queue, consumer, role, identity. */
export const NAME: RegExp = /^[A-Za-z0-9_-]{1,64}$/;
/** An attribute, as templates and `given-to` name it. */
export const ATTRIBUTE: RegExp = /^[A-Za-z][A-Za-z0-9_-]{0,63}$/;

interface Word {
  readonly text: string;
  readonly offset: number;
}

/**
 * Reads one line: a verb, then its object, with single or several spaces between. At most 512 characters.
 *
 * @returns every fault of the line, each saying what was found and what would be right
 */
export function parseLine(text: string, rules: LineRules): LineOutcome {
  if (text.length > LIMITS.lineCharactersMax) {
    return fault(0, `is ${text.length} characters long; at most ${LIMITS.lineCharactersMax} are read`);
  }
  const words = wordsOf(text);
  const [verb, ...objects] = words;
  if (!verb) return fault(0, `is empty; write an action, such as "publish orders.>"`);
  const known = VERBS.find((candidate) => candidate === verb.text);
  if (!known) {
    const hint = didYouMean(verb.text, VERBS);
    return fault(verb.offset, `begins with "${clip(verb.text)}"${hint}; the verbs are ${VERBS.join(", ")}`);
  }
  return OBJECT_READERS[known](new ObjectReader(known, objects, text.length, rules));
}

/** Reads the words after a verb one by one and gathers what is wrong with them. */
class ObjectReader {
  readonly verb: Verb;
  readonly rules: LineRules;
  readonly faults: LineFault[] = [];
  readonly #words: Word[];
  readonly #end: number;

  constructor(verb: Verb, words: readonly Word[], end: number, rules: LineRules) {
    this.verb = verb;
    this.rules = rules;
    this.#words = [...words];
    this.#end = end;
  }

  /** The next word, or a fault that says what is missing. */
  word(what: string): Word | undefined {
    const word = this.#words.shift();
    if (!word) this.fault(this.#end, `lacks ${what}; write "${VERB_FORMS[this.verb]}"`);
    return word;
  }

  /** Whether the next word is this keyword, which is then taken. */
  keyword(text: string): boolean {
    if (this.#words[0]?.text !== text) return false;
    this.#words.shift();
    return true;
  }

  /** Everything left, as one word. */
  remainder(): Word | undefined {
    const [first, ...others] = this.#words.splice(0);
    return first && { text: [first, ...others].map((word) => word.text).join(" "), offset: first.offset };
  }

  name(what: string): string {
    const word = this.word(what);
    if (!word) return "";
    if (!NAME.test(word.text))
      this.fault(word.offset, `names the ${what} "${clip(word.text)}"; ${NAME_RULE}`);
    return word.text;
  }

  fault(offset: number, message: string): void {
    this.faults.push({ offset, message });
  }

  end(line: Omit<LineShape, "verb">): LineOutcome {
    const extra = this.#words[0];
    if (extra)
      this.fault(extra.offset, `goes on with "${clip(extra.text)}"; write "${VERB_FORMS[this.verb]}"`);
    if (this.faults.length > 0) return { ok: false, faults: this.faults };
    return { ok: true, line: { verb: this.verb, ...line } };
  }
}

const NAME_RULE = `names are 1–${LIMITS.nameCharactersMax} of A–Z a–z 0–9 _ -`;

const OBJECT_READERS: Readonly<Record<Verb, (reader: ObjectReader) => LineOutcome>> = {
  publish: subjectOnly,
  request: subjectOnly,
  respond: subjectAndQueue,
  subscribe: subjectAndQueue,
  "read-stream"(reader) {
    const stream = reader.name("stream");
    if (/^(KV|OBJ)_/.test(stream)) {
      reader.fault(0, `reads the stream "${stream}" behind a bucket; write "read-kv" or "write-kv"`);
    }
    const pattern = subjectOf(reader);
    refuseFinalStar(reader, pattern);
    const consumers = reader.keyword("consumers") ? consumersOf(reader) : undefined;
    return reader.end({ stream, pattern, ...(consumers && { consumers }) });
  },
  "read-kv"(reader) {
    const bucket = reader.name("bucket");
    const pattern = keysOf(reader);
    refuseFinalStar(reader, pattern);
    return reader.end({ bucket, pattern });
  },
  "write-kv"(reader) {
    const bucket = reader.name("bucket");
    return reader.end({ bucket, pattern: keysOf(reader) });
  },
  connect(reader) {
    const word = reader.word("the way");
    const way = WAYS.find((candidate) => candidate === word?.text);
    if (word && !way) {
      const hint = didYouMean(word.text, WAYS);
      reader.fault(word.offset, `names the way "${clip(word.text)}"${hint}; ways are ${WAYS.join(", ")}`);
    }
    return reader.end({ pattern: "", ...(way && { way }) });
  },
  "read-audit": nothingMore,
  "end-sessions": nothingMore,
  "push-policy": nothingMore,
};

function subjectOnly(reader: ObjectReader): LineOutcome {
  return reader.end({ pattern: subjectOf(reader) });
}

function subjectAndQueue(reader: ObjectReader): LineOutcome {
  const pattern = subjectOf(reader);
  const queue = reader.keyword("queue") ? reader.name("queue") : undefined;
  return reader.end({ pattern, ...(queue !== undefined && { queue }) });
}

function nothingMore(reader: ObjectReader): LineOutcome {
  return reader.end({ pattern: "" });
}

function consumersOf(reader: ObjectReader): readonly string[] {
  const list = reader.remainder();
  const inner = list && /^\[([^[\]]*)\]$/.exec(list.text)?.[1];
  const names = (inner ?? "").split(",").map((name) => name.trim());
  if (!list || inner === undefined || names.some((name) => !NAME.test(name))) {
    reader.fault(
      list?.offset ?? 0,
      `lacks the names of its consumers; write "consumers [NAME, …]", ${NAME_RULE}`,
    );
  }
  return names;
}

/** A subject pattern whose first token is fixed: a literal or a template. */
function subjectOf(reader: ObjectReader): string {
  const word = reader.word("the subject");
  if (!word) return "";
  if (!checkPattern(reader, word)) return word.text;
  const first = word.text.split(".", 1)[0];
  if (first === "*" || first === ">") {
    reader.fault(
      word.offset,
      `opens its subject with "${first}", which would reach $JS, $KV and everybody's inbox; begin with a literal or a template and list the namespaces`,
    );
  } else if (isReservedSubject(word.text) || first?.startsWith("_")) {
    reader.fault(
      word.offset,
      `names "${clip(word.text)}", which belongs to NATS itself; JetStream and buckets are reached with read-stream, read-kv and write-kv, inboxes come with request`,
    );
  }
  return word.text;
}

/** Keys of a bucket: all of a bucket may be granted, since a key reaches nothing outside it. */
function keysOf(reader: ObjectReader): string {
  const word = reader.word("the keys");
  if (!word || !checkPattern(reader, word)) return word?.text ?? "";
  if (!/^[-/_=.a-zA-Z0-9*>{}]+$/.test(word.text)) {
    reader.fault(
      word.offset,
      `names the keys "${clip(word.text)}"; keys are made of A–Z a–z 0–9 - / _ = and dots`,
    );
  }
  return word.text;
}

function checkPattern(reader: ObjectReader, word: Word): boolean {
  if (/[{}]/.test(word.text) && !checkTemplates(reader, word)) return false;
  const why = checkSubject(word.text.replace(/\{[^{}]*\}/g, "x"), { wildcards: true });
  if (why) reader.fault(word.offset, `names "${clip(word.text)}", which ${why}`);
  return !why;
}

function checkTemplates(reader: ObjectReader, word: Word): boolean {
  let offset = word.offset;
  let right = true;
  for (const token of word.text.split(".")) {
    if (/[{}]/.test(token)) {
      const name = /^\{([^{}]*)\}$/.exec(token)?.[1];
      if (!reader.rules.templates) {
        reader.fault(offset, `has the template "${clip(token)}"; here the value itself is written`);
        right = false;
      } else if (name === undefined) {
        reader.fault(offset, `has "${clip(token)}"; a template stands for one whole token: ".{region}."`);
        right = false;
      } else if (!ATTRIBUTE.test(name)) {
        reader.fault(
          offset,
          `has the template "${clip(token)}"; an attribute is a letter, then A–Z a–z 0–9 _ -`,
        );
        right = false;
      }
    }
    offset += token.length + 1;
  }
  return right;
}

/** nats-server takes a final `*` for `>` in the subjects that reading goes through, and no deny can mend it. */
function refuseFinalStar(reader: ObjectReader, pattern: string): void {
  if (!reader.rules.templates || !/(^|\.)\*$/.test(pattern)) return;
  reader.fault(
    0,
    `ends in "*", which nats-server would take for ">" when it is read from; write ">" or the last token itself`,
  );
}

function wordsOf(text: string): Word[] {
  return Array.from(text.matchAll(/[^\s]+/g), (match) => ({ text: match[0], offset: match.index }));
}

function fault(offset: number, message: string): LineOutcome {
  return { ok: false, faults: [{ offset, message }] };
}

/** What was found, short enough for a message. */
export function clip(text: string): string {
  const shown = printable(text);
  return shown.length > 60 ? `${shown.slice(0, 60)}…` : shown;
}

/** Nothing that a terminal would obey or that would show other text than there is: escapes, overrides, invisible signs. */
export function printable(text: string): string {
  return text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, "?");
}
