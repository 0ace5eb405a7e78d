import { allowed, type Outcome, refused } from "../refusal.ts";
import type { HeaderDefinition } from "./operation.ts";

interface Precondition {
  readonly definition: HeaderDefinition;
  readonly grammar: RegExp;
  readonly expected: string;
}

const SEQUENCE = {
  grammar: /^(?:0|[1-9]\d{0,15})$/,
  expected: "a sequence, a whole number from 0",
  schema: { type: "string", pattern: "^(?:0|[1-9]\\d{0,15})$" },
};

/**
 * Those of nats-server's preconditions that tell nothing of what the caller may not read: the subject of
 * `Nats-Expected-Last-Subject-Sequence` is always the message's own. All other `Nats-` headers change what a message
 * does (empties a stream, expires, is published elsewhere), and are nobody's to send.
 */
const PRECONDITIONS: Readonly<Record<string, Precondition>> = {
  "Nats-Expected-Last-Sequence": {
    ...SEQUENCE,
    definition: {
      description: "Only with `stream`: the sequence of the stream's last message, or nothing is stored.",
      schema: SEQUENCE.schema,
      example: "4711",
    },
  },
  "Nats-Expected-Last-Subject-Sequence": {
    ...SEQUENCE,
    definition: {
      description:
        "Only with `stream`: the sequence of the last message on this subject, 0 for none, or nothing is stored.",
      schema: SEQUENCE.schema,
      example: "4711",
    },
  },
  "Nats-Expected-Last-Msg-Id": {
    grammar: /^[\x21-\x7e]{1,256}$/,
    expected: "the id of a message",
    definition: {
      description: "Only with `stream`: the `id` of the stream's last message, or nothing is stored.",
      schema: { type: "string", pattern: "^[\\x21-\\x7e]{1,256}$" },
      example: "0193a3b2-7c00-7000-8000-000000000001",
    },
  },
};

const BY_LOWER_NAME: ReadonlyMap<string, readonly [name: string, is: Precondition]> = new Map(
  Object.entries(PRECONDITIONS).map(([name, is]) => [name.toLowerCase(), [name, is]]),
);

/** As they stand in the description of an operation. */
export const PRECONDITION_HEADERS: Readonly<Record<string, HeaderDefinition>> = Object.fromEntries(
  Object.entries(PRECONDITIONS).map(([name, { definition }]) => [name, definition]),
);

/** Whether a header is nats-server's: a precondition, or none of the caller's to send. */
export function isOfNats(name: string): boolean {
  return /^nats-/i.test(name);
}

/**
 * Reads a header of nats-server's.
 *
 * @param name  in any case
 * @returns the precondition, its name as nats-server matches it; `header_refused` for whatever is none
 */
export function readPrecondition(
  name: string,
  value: string,
): Outcome<readonly [name: string, value: string]> {
  const [known, is] = BY_LOWER_NAME.get(name.toLowerCase()) ?? [];
  if (known === undefined || !is) return refusedHeader(name, whyNot(name));
  return is.grammar.test(value)
    ? allowed([known, value] as const)
    : refusedHeader(name, `expected ${is.expected}`);
}

function whyNot(name: string): string {
  return name.toLowerCase() === "nats-expected-stream"
    ? "say it as ?stream=NAME"
    : `the gateway and nats-server set this one themselves; yours may be ${Object.keys(PRECONDITIONS).join(", ")}`;
}

function refusedHeader(name: string, why: string): ReturnType<typeof refused> {
  return refused({ reason: "header_refused", header: name.slice(0, 64).toLowerCase(), why });
}
