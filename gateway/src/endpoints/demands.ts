import type { FastifyRequest } from "fastify";
import type { HeaderList } from "../nats/connection.ts";
import { allowed, type Outcome, refused } from "../refusal.ts";
import { IDEMPOTENCY_KEY, KEY_RULE, parseIdempotencyKey } from "./idempotency-key.ts";
import type { HeaderDefinition } from "./operation.ts";
import { isOfNats, PRECONDITION_HEADERS, readPrecondition } from "./preconditions.ts";

/** What a caller demands of the stream that is to keep a message. */
export interface Demands {
  /** By NATS's own names, as nats-server matches them. */
  readonly preconditions: HeaderList;
  /** Makes a retry the same message. */
  readonly key?: string;
}

/** The headers of a request that make demands, for its description. */
export const DEMAND_HEADERS: Readonly<Record<string, HeaderDefinition>> = {
  "Idempotency-Key": IDEMPOTENCY_KEY,
  ...PRECONDITION_HEADERS,
};

/**
 * Reads the demands of one request. Passed over in silence, the caller would rely on what nobody keeps.
 *
 * @param rawHeaders  as node:http gives them: name, value, name, value …, duplicates included
 * @returns `header_refused` for one that is not known, stands there twice, or is not well-formed
 */
export function readDemands(rawHeaders: readonly string[]): Outcome<Demands> {
  const preconditions: (readonly [string, string])[] = [];
  let key: string | undefined;
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] ?? "";
    const value = rawHeaders[at + 1] ?? "";
    const initial = name.charCodeAt(0) | 0x20;
    // Cheap way past the thirty headers of a browser that demand nothing.
    if (initial === 0x6e /* n */ && isOfNats(name)) {
      const read = readPrecondition(name, value);
      if (!read.ok) return read;
      if (preconditions.some(([other]) => other === read.value[0])) return refusedHeader(name, TWICE);
      preconditions.push(read.value);
    } else if (initial === 0x69 /* i */ && name.toLowerCase() === "idempotency-key") {
      if (key !== undefined) return refusedHeader(name, TWICE);
      key = parseIdempotencyKey(value);
      if (key === undefined) return refusedHeader(name, KEY_RULE);
    }
  }
  return allowed({ preconditions, ...(key !== undefined && { key }) });
}

/**
 * For a message that no stream is asked to keep.
 *
 * @returns `value`, or `header_refused` where something is demanded
 */
export function refuseDemands<T>({ raw }: FastifyRequest, value: T): Outcome<T> {
  const demands = readDemands(raw.rawHeaders);
  if (!demands.ok) return demands;
  const { key, preconditions } = demands.value;
  const demand = key === undefined ? preconditions[0]?.[0] : "idempotency-key";
  return demand === undefined ? allowed(value) : refusedHeader(demand, NEEDS_STREAM);
}

const TWICE = "more than one; send one";
const NEEDS_STREAM = "only a stream can keep it; publish with ?stream=NAME";

function refusedHeader(name: string, why: string): ReturnType<typeof refused> {
  return refused({ reason: "header_refused", header: name.toLowerCase(), why });
}
