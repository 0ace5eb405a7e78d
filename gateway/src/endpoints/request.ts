import type { FastifyInstance } from "fastify";
import { refuseDemands } from "./demands.ts";
import { httpHeadersOf, valuesByName } from "./headers.ts";
import { askOf, readMessage } from "./message.ts";
import { addOperation, operation } from "./operation.ts";
import { duration, required, subject, withDefault } from "./parameter.ts";
import type { EndpointParts } from "./parts.ts";
import { orRefuse } from "./server.ts";

/** Longer waits belong to a stream; and front ends (IIS, load balancers) give up at about this. */
const TIMEOUT = duration("How long to wait for the reply.", { from: "1ms", to: "60s", example: "2s" });

const REQUEST = operation({
  id: "request",
  method: "POST",
  path: "/v1/request",
  tag: "messages",
  summary: "Send a request and wait for its reply",
  description: "The body becomes the payload; the answer is the reply's body, with its headers as `Msg-…`.",
  parameters: {
    subject: required(subject({ wildcards: false, example: "inventory.check" })),
    timeout: withDefault(TIMEOUT, "5s"),
  },
  body: { description: "The payload.", required: false, content: { "*/*": { example: "{}" } } },
  answers: { 200: { description: "The reply, as whoever answered sent it.", content: { "*/*": {} } } },
  problems: [
    "invalid_subject",
    "invalid_header",
    "payload_too_large",
    "rate_limited",
    "no_responders",
    "timeout",
  ],
});

/** `POST /v1/request?subject=…&timeout=2s`: the reply's body and headers, or `no_responders`, `timeout`. */
export function addRequest(app: FastifyInstance, parts: EndpointParts): void {
  const { admit, effects, presentedOf, clock } = parts;

  addOperation(app, REQUEST, async (request, query, reply) => {
    const asked = query.ok ? refuseDemands(request, query.value) : query;
    const message = asked.ok ? readMessage(request, asked.value.subject, clock) : asked;
    const admission = orRefuse(await admit(askOf("request", presentedOf(request), message, request)));
    const answer = orRefuse(await effects.request(admission, orRefuse(message), orRefuse(query).timeout));
    // A header set twice would only overwrite itself.
    for (const [name, values] of valuesByName(httpHeadersOf(answer.headers).headers))
      reply.header(name, values);
    // A service behind NATS chooses type and bytes: they must never run as a page of this origin.
    reply.header("content-security-policy", "sandbox; default-src 'none'");
    const { buffer, byteOffset, byteLength } = answer.payload;
    return reply.code(200).send(Buffer.from(buffer, byteOffset, byteLength));
  });
}
