import type { FastifyRequest } from "fastify";
import type { HeaderList } from "../nats/connection.ts";
import { allowed, type Outcome, refused } from "../refusal.ts";
import type { HeaderDefinition } from "./operation.ts";

/** What a caller demands of the stream that is to keep a message. */
export interface Demands {
  /** By NATS's own names, as nats-server matches them. */
  readonly preconditions: HeaderList;
}

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

/** The headers of a request that make demands, for its description. */
export const DEMAND_HEADERS: Readonly<Record<string, HeaderDefinition>> = Object.fromEntries(
  Object.entries(PRECONDITIONS).map(([name, { definition }]) => [name, definition]),
);

/**
 * Reads the demands of one message. Passed over in silence, the caller would rely on what nobody keeps.
 *
 * @param rawHeaders  name, value, name, value …, in any case, duplicates included
 * @returns `header_refused` for one that is not known, twice there, or not well-formed
 */
export function readDemands(rawHeaders: readonly string[]): Outcome<Demands> {
  let preconditions: (readonly [string, string])[] | undefined;
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const given = rawHeaders[at] ?? "";
    if (!isDemand(given)) continue;
    const [name, is] = BY_LOWER_NAME.get(given.toLowerCase()) ?? [];
    if (name === undefined || !is) return refusedHeader(given, whyNot(given));
    const value = rawHeaders[at + 1] ?? "";
    if (!is.grammar.test(value)) return refusedHeader(name, `expected ${is.expected}`);
    preconditions ??= [];
    if (preconditions.some(([other]) => other === name))
      return refusedHeader(name, "more than one; send one");
    preconditions.push([name, value]);
  }
  return preconditions ? allowed({ preconditions }) : NO_DEMANDS;
}

const NO_DEMANDS: Outcome<Demands> = allowed({ preconditions: [] });

/**
 * For a message that no stream is asked to keep.
 *
 * @returns `value`, or `header_refused` where something is demanded
 */
export function refuseDemands<T>({ raw }: FastifyRequest, value: T): Outcome<T> {
  const demands = readDemands(raw.rawHeaders);
  if (!demands.ok) return demands;
  const [demand] = demands.value.preconditions;
  return demand
    ? refusedHeader(demand[0], "only a stream can keep it; publish with ?stream=NAME")
    : allowed(value);
}

/** Cheap for the thirty headers of a browser that are none. */
function isDemand(name: string): boolean {
  const initial = name.charCodeAt(0) | 0x20;
  return (initial === 0x6e /* n */ || initial === 0x69) /* i */ && /^(?:nats-|idempotency-key$)/i.test(name);
}

function whyNot(name: string): string {
  if (/^idempotency-key$/i.test(name)) return "this version does not offer it; send the message without";
  return /^nats-expected-stream$/i.test(name)
    ? "say it as ?stream=NAME"
    : `the gateway and nats-server set this one themselves; yours may be ${Object.keys(PRECONDITIONS).join(", ")}`;
}

function refusedHeader(header: string, why: string): ReturnType<typeof refused> {
  return refused({ reason: "header_refused", header: header.slice(0, 64).toLowerCase(), why });
}
