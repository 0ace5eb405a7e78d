import type { FastifyInstance, FastifyRequest } from "fastify";
import { allowed, type Outcome, refused } from "../refusal.ts";
import { parseDurationMs } from "../time.ts";
import { httpHeadersOf, valuesByName } from "./headers.ts";
import { askOf, readMessage } from "./message.ts";
import type { EndpointParts } from "./parts.ts";
import { readSingles } from "./query.ts";
import { orRefuse } from "./server.ts";

const TIMEOUT_DEFAULT_MS = 5_000;
/** Longer waits belong to a stream; and front ends (IIS, load balancers) give up at about this. */
const TIMEOUT_MS_MAX = 60_000;

/** `POST /v1/request?subject=…&timeout=2s`: the reply's body and headers, or `no_responders`, `timeout`. */
export function addRequest(app: FastifyInstance, parts: EndpointParts): void {
  const { admit, effects, presentedOf, clock } = parts;

  app.post("/v1/request", async (request, reply) => {
    const options = readOptions(request);
    const message = options.ok ? readMessage(request, options.value.subject, clock) : options;
    const admission = orRefuse(await admit(askOf("request", presentedOf(request), message, request)));
    const answer = orRefuse(await effects.request(admission, orRefuse(message), orRefuse(options).timeoutMs));
    // A header set twice would only overwrite itself.
    for (const [name, values] of valuesByName(httpHeadersOf(answer.headers).headers))
      reply.header(name, values);
    // A service behind NATS chooses type and bytes: they must never run as a page of this origin.
    reply.header("content-security-policy", "sandbox; default-src 'none'");
    const { buffer, byteOffset, byteLength } = answer.payload;
    return reply.code(200).send(Buffer.from(buffer, byteOffset, byteLength));
  });
}

function readOptions(request: FastifyRequest): Outcome<{ subject: string | undefined; timeoutMs: number }> {
  const query = readSingles(request, ["subject", "timeout"]);
  if (!query.ok) return query;
  const { subject, timeout } = query.value;
  const timeoutMs = timeout === undefined ? TIMEOUT_DEFAULT_MS : parseDurationMs(timeout);
  if (timeoutMs === undefined || timeoutMs < 1 || timeoutMs > TIMEOUT_MS_MAX) {
    const why = `expected a duration from 1ms to 60s such as 500ms or 2s, found ${timeout?.slice(0, 32)}`;
    return refused({ reason: "request_invalid", what: "query parameter timeout", why });
  }
  return allowed({ subject, timeoutMs });
}
