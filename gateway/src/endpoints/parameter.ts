import type { FastifyRequest } from "fastify";
import { allowed, type Outcome, refused } from "../refusal.ts";
import { parseDurationMs } from "../time.ts";
import { readQuery } from "./query.ts";
import { parseSubject } from "./subject.ts";

/**
 * A query parameter: what reads it and what the API's description says of it, from one place, so that the two cannot
 * differ.
 */
export interface Parameter<T> {
  readonly description: string;
  /** JSON Schema of the text as it stands in the query, percent-decoded. */
  readonly schema: Readonly<Record<string, unknown>>;
  readonly example: string;
  /** How often it may stand: once, unless it says otherwise. */
  readonly timesMax: number;
  readonly required: boolean;
  /** Whether the operation's published example has it. */
  readonly shown: boolean;
  /** @param texts  as often as it stands, in order; within `timesMax`, and not empty where it is required */
  read(texts: readonly string[], name: string): Outcome<T>;
}

export type Parameters = Readonly<Record<string, Parameter<unknown>>>;

/** What a request's query says, by the names of its parameters. */
export type Values<P extends Parameters> = {
  readonly [Name in keyof P]: P[Name] extends Parameter<infer T> ? T : never;
};

/** Reads one text of a parameter. @returns undefined when it is not well-formed, or a refusal of its own */
type Reader<T> = (text: string, name: string) => Outcome<T> | T | undefined;

interface Definition<T> {
  readonly description: string;
  readonly schema: Readonly<Record<string, unknown>>;
  readonly example: string;
  /** For the refusal: "expected a duration from 1ms to 60s such as 2s". */
  readonly expected: string;
  readonly read: Reader<T>;
}

/** A text of a grammar of ours, still to be said how often it may stand. */
export interface Kind<T> {
  readonly definition: Definition<T>;
}

/** Has to stand there, once. */
export function required<T>(kind: Kind<T>): Parameter<T> {
  return parameterOf(kind, { required: true, timesMax: 1 }, ([text = ""], name) =>
    readOne(kind.definition, text, name),
  );
}

/** May stand there, once. @param shown  whether the operation's published example has it */
export function optional<T>(
  kind: Kind<T>,
  { shown = false }: { readonly shown?: boolean } = {},
): Parameter<T | undefined> {
  return parameterOf(kind, { required: false, shown, timesMax: 1 }, ([text], name) =>
    text === undefined ? allowed(undefined) : readOne(kind.definition, text, name),
  );
}

/** May stand there, once; else it is as if this had been written. */
export function withDefault<T>(kind: Kind<T>, text: string): Parameter<T> {
  const { definition } = kind;
  const schema = { ...definition.schema, default: text };
  return parameterOf(
    { definition: { ...definition, schema } },
    { required: false, timesMax: 1 },
    ([given = text], name) => readOne(definition, given, name),
  );
}

/** Stands there once or more. A value that is repeated counts once. */
export function repeated<T>(kind: Kind<T>, timesMax: number): Parameter<readonly T[]> {
  return parameterOf(kind, { required: true, timesMax }, (texts, name) => {
    const values: T[] = [];
    for (const text of new Set(texts)) {
      const value = readOne(kind.definition, text, name);
      if (!value.ok) return value;
      values.push(value.value);
    }
    return allowed(values);
  });
}

function parameterOf<T>(
  { definition: { description, schema, example } }: Kind<unknown>,
  occurs: Pick<Parameter<T>, "required" | "timesMax"> & Partial<Pick<Parameter<T>, "shown">>,
  read: Parameter<T>["read"],
): Parameter<T> {
  return { description, schema, example, shown: occurs.required, ...occurs, read };
}

function readOne<T>({ read, expected }: Definition<T>, text: string, name: string): Outcome<T> {
  const value = read(text, name);
  if (value === undefined) return invalid(name, `expected ${expected}; found ${shown(text)}`);
  return isOutcome(value) ? value : allowed(value);
}

function isOutcome<T>(value: Outcome<T> | T): value is Outcome<T> {
  return typeof value === "object" && value !== null && "ok" in value;
}

/**
 * Reads the query of a request by its operation's parameters. An unknown one is refused rather than ignored, and so is
 * one that stands there more often than it may: which of two would count is for two servers to differ on.
 */
export function readParameters<P extends Parameters>(
  request: FastifyRequest,
  parameters: P,
): Outcome<Values<P>> {
  const query = readQuery(request, Object.keys(parameters));
  if (!query.ok) return query;
  const values: Record<string, unknown> = {};
  for (const [name, parameter] of Object.entries(parameters)) {
    const texts = query.value[name] ?? [];
    const { timesMax } = parameter;
    const times = timesMax === 1 ? texts.length : new Set(texts).size;
    if (times > timesMax) {
      return invalid(
        name,
        `expected ${timesMax === 1 ? "once" : `at most ${timesMax} times`}, found ${times} times`,
      );
    }
    if (parameter.required && texts.length === 0) return invalid(name, "expected once, found none");
    const value = parameter.read(texts, name);
    if (!value.ok) return value;
    values[name] = value.value;
  }
  return allowed(values as Values<P>);
}

/** @param wildcards  whether `*` and `>` may stand in it: where one reads, not where one writes */
export function subject({ wildcards, example }: { wildcards: boolean; example: string }): Kind<string> {
  const token = wildcards ? "(?:[!-)+-\\-/-=?-~]+|\\*)" : "[!-)+-\\-/-=?-~]+";
  return {
    definition: {
      description: wildcards
        ? "A NATS subject, in which `*` stands for one token and a final `>` for one or more."
        : "A NATS subject, without wildcards.",
      schema: {
        type: "string",
        minLength: 1,
        maxLength: 256,
        pattern: `^${token}(?:\\.${token})*${wildcards ? "(?:\\.>)?" : ""}$`,
      },
      example,
      expected: "a subject",
      read: (text) => parseSubject(text, { wildcards }),
    },
  };
}

/** A duration such as `2s`, in milliseconds once read. */
export function duration(
  description: string,
  { from, to, example }: { readonly from: string; readonly to: string; readonly example: string },
): Kind<number> {
  const [fromMs = Number.NaN, toMs = Number.NaN] = [from, to].map(parseDurationMs);
  return {
    definition: {
      description: `${description} From ${from} to ${to}.`,
      schema: { type: "string", pattern: "^\\d{1,9}(?:ms|s|m|h|d)$" },
      example,
      expected: `a duration from ${from} to ${to} such as ${example}`,
      read(text) {
        const ms = parseDurationMs(text);
        return ms !== undefined && ms >= fromMs && ms <= toMs ? ms : undefined;
      },
    },
  };
}

/** A whole number in decimal digits. */
export function integer(
  description: string,
  { from, to, example }: { readonly from: number; readonly to: number; readonly example: number },
): Kind<number> {
  return {
    definition: {
      description,
      schema: { type: "integer", minimum: from, maximum: to },
      example: String(example),
      expected: `a whole number from ${from} to ${to}`,
      read(text) {
        const value = /^(?:0|[1-9]\d{0,15})$/.test(text) ? Number(text) : Number.NaN;
        return value >= from && value <= to ? value : undefined;
      },
    },
  };
}

/** One of a few words. */
export function choice<const T extends string>(
  description: string,
  words: readonly T[],
  example: T,
): Kind<T> {
  return {
    definition: {
      description,
      schema: { type: "string", enum: words },
      example,
      expected: `one of ${words.join(", ")}`,
      read: (text) => words.find((word) => word === text),
    },
  };
}

/**
 * A text of a regular expression, which has to describe all of it, in linear time.
 *
 * @param expected  in words, for a refusal
 */
export function matching(
  description: string,
  {
    grammar,
    expected,
    example,
  }: { readonly grammar: RegExp; readonly expected: string; readonly example: string },
): Kind<string> {
  return {
    definition: {
      description,
      schema: { type: "string", pattern: grammar.source },
      example,
      expected,
      read: (text) => (grammar.test(text) ? text : undefined),
    },
  };
}

function invalid(name: string, why: string): ReturnType<typeof refused> {
  return refused({ reason: "request_invalid", what: `query parameter ${name}`, why });
}

function shown(text: string): string {
  return text === "" ? "nothing" : text.slice(0, 32);
}
