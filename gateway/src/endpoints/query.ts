import type { FastifyRequest } from "fastify";
import { allowed, type Outcome, refused } from "../refusal.ts";

/**
 * The query parameters an endpoint knows. An unknown one is refused rather than ignored: `?streams=ORDERS`
 * must not be answered as if the caller had not asked to wait for the acknowledgement.
 */
export function readQuery<Name extends string>(
  request: FastifyRequest,
  known: readonly Name[],
): Outcome<Partial<Record<Name, readonly string[]>>> {
  const values: Partial<Record<Name, readonly string[]>> = {};
  for (const [name, value] of Object.entries(request.query as Record<string, string | string[]>)) {
    const at = known.find((candidate) => candidate === name);
    if (at === undefined) {
      const why = `unknown; this endpoint takes ${known.length > 0 ? known.join(", ") : "none"}`;
      return refused({ reason: "request_invalid", what: `query parameter ${name.slice(0, 64)}`, why });
    }
    values[at] = Array.isArray(value) ? value : [value];
  }
  return allowed(values);
}

/** @returns the value of a parameter that may stand at most once; undefined when it does not */
export function single(name: string, values: readonly string[] | undefined): Outcome<string | undefined> {
  if (values === undefined || values.length === 1) return allowed(values?.[0]);
  const why = `expected once, found ${values.length} times`;
  return refused({ reason: "request_invalid", what: `query parameter ${name}`, why });
}
