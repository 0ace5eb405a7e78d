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
  if (!isDecodable(request.url)) {
    return refused({ reason: "request_invalid", what: "query", why: "is not percent-encoded UTF-8" });
  }
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

/** As `readQuery`, of parameters that may stand once each: which of two would count is for two servers to differ on. */
export function readSingles<Name extends string>(
  request: FastifyRequest,
  known: readonly Name[],
): Outcome<Partial<Record<Name, string>>> {
  const query = readQuery(request, known);
  if (!query.ok) return query;
  const values: Partial<Record<Name, string>> = {};
  for (const name of known) {
    const value = single(name, query.value[name]);
    if (!value.ok) return value;
    if (value.value !== undefined) values[name] = value.value;
  }
  return allowed(values);
}

/** @returns the value of a parameter that may stand at most once; undefined when it does not */
export function single(name: string, values: readonly string[] | undefined): Outcome<string | undefined> {
  if (values === undefined || values.length === 1) return allowed(values?.[0]);
  const why = `expected once, found ${values.length} times`;
  return refused({ reason: "request_invalid", what: `query parameter ${name}`, why });
}

/** What cannot be decoded is left as it is by the parser, and would be a subject of its own: `orders.%C0%AF`. */
function isDecodable(url: string): boolean {
  const query = url.indexOf("?");
  if (query < 0 || !url.includes("%", query)) return true;
  try {
    decodeURIComponent(url.slice(query));
    return true;
  } catch {
    return false;
  }
}
