import type { FastifyInstance, FastifyRequest } from "fastify";
import { type Outcome, refused } from "../refusal.ts";
import { askOf, readMessage } from "./message.ts";
import { addOperation, operation } from "./operation.ts";
import { required, subject } from "./parameter.ts";
import type { EndpointParts } from "./parts.ts";
import { orRefuse } from "./server.ts";

const PUBLISH = operation({
  id: "publish",
  method: "POST",
  path: "/v1/publish",
  tag: "messages",
  summary: "Publish a message",
  description: "The body becomes the payload. It is answered once the message is sealed and on its way.",
  parameters: { subject: required(subject({ wildcards: false, example: "orders.eu.4711.create" })) },
  body: { description: "The payload.", required: false, content: { "*/*": { example: "{}" } } },
  answers: {
    202: {
      description: "Sealed, and on its way.",
      content: {
        "application/json": {
          schema: {
            type: "object",
            required: ["txn", "id", "subject"],
            properties: {
              txn: { type: "string", format: "uuid", description: "Of this request, in the record." },
              id: { type: "string", description: "Of this message, in its seal." },
              subject: { type: "string" },
            },
          },
        },
      },
    },
  },
  problems: [
    "invalid_subject",
    "invalid_header",
    "payload_too_large",
    "rate_limited",
    "unsupported_media_type",
  ],
});

/** `POST /v1/publish?subject=…`: the body becomes the payload. 202 once it is sealed and on its way. */
export function addPublish(app: FastifyInstance, parts: EndpointParts): void {
  const { admit, effects, presentedOf, clock } = parts;

  addOperation(app, PUBLISH, async (request, query, reply) => {
    const asked = refuseBatch(request, query);
    const message = asked.ok ? readMessage(request, asked.value.subject, clock) : asked;
    const admission = orRefuse(await admit(askOf("publish", presentedOf(request), message, request)));
    const published = orRefuse(await effects.publish(admission, orRefuse(message)));
    return reply.code(202).header("content-type", "application/json").send(JSON.stringify(published));
  });
}

/** A batch taken for one message today would be many messages tomorrow. */
function refuseBatch<T>(request: FastifyRequest, query: Outcome<T>): Outcome<T> {
  const found = request.headers["content-type"] ?? "";
  if (!/^application\/x-ndjson\b/i.test(found)) return query;
  const expected = "one message; batches are not offered yet";
  return refused({ reason: "media_type_unsupported", found, expected });
}
