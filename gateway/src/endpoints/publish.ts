import type { FastifyInstance, FastifyRequest } from "fastify";
import type { Identity } from "../identity/identity.ts";
import type { Message } from "../prepare.ts";
import { allowed, type Outcome, refused } from "../refusal.ts";
import type { Storing } from "../store.ts";
import { DEMAND_HEADERS, readDemands, refuseDemands } from "./demands.ts";
import { askOf, readMessage, withId } from "./message.ts";
import { addOperation, operation } from "./operation.ts";
import { duration, matching, optional, required, subject, type Values } from "./parameter.ts";
import type { EndpointParts } from "./parts.ts";
import { orRefuse } from "./server.ts";

const STREAM = matching("Waits until this JetStream stream has the message.", {
  grammar: /^[A-Za-z0-9_-]{1,64}$/,
  expected: "the name of a stream, 1 to 64 of A-Z a-z 0-9 _ -",
  example: "ORDERS",
});

/** Longer than an election of a stream's leader (4–5 s); longer waits than a minute end in whatever stands in front. */
const TIMEOUT = duration("Only with `stream`: by when to know whether it has the message. Default 10s.", {
  from: "1ms",
  to: "60s",
  example: "10s",
});
const TIMEOUT_DEFAULT_MS = 10_000;

const SENT = {
  txn: { type: "string", format: "uuid", description: "Of this request, in the record." },
  id: { type: "string", description: "Of this message, in its seal." },
  subject: { type: "string" },
};

const STORED = {
  stream: { type: "string" },
  sequence: { type: "integer", minimum: 1, description: "Where in the stream." },
  duplicate: {
    type: "boolean",
    description: "Whether the stream had it before, of an earlier request under the same `Idempotency-Key`.",
  },
};

const PUBLISH = operation({
  id: "publish",
  method: "POST",
  path: "/v1/publish",
  tag: "messages",
  summary: "Publish a message",
  description:
    "The body becomes the payload, `Msg-<name>` its headers. Without `stream` it is answered once the message is sealed and on its way; with `stream`, once the stream has it.",
  parameters: {
    subject: required(subject({ wildcards: false, example: "orders.eu.4711.create" })),
    stream: optional(STREAM),
    timeout: optional(TIMEOUT),
  },
  headers: DEMAND_HEADERS,
  body: { description: "The payload.", required: false, content: { "*/*": { example: "{}" } } },
  answers: {
    200: {
      description: "The stream has it.",
      content: {
        "application/json": {
          schema: {
            type: "object",
            required: [...Object.keys(SENT), ...Object.keys(STORED)],
            properties: { ...SENT, ...STORED },
          },
        },
      },
    },
    202: {
      description: "Sealed, and on its way.",
      content: {
        "application/json": { schema: { type: "object", required: Object.keys(SENT), properties: SENT } },
      },
    },
  },
  problems: [
    "invalid_subject",
    "invalid_header",
    "key_in_use",
    "key_reused",
    "precondition_failed",
    "payload_too_large",
    "rate_limited",
    "unsupported_media_type",
    "no_responders",
    "outcome_unknown",
  ],
});

type Query = Values<(typeof PUBLISH)["parameters"]>;

/** `POST /v1/publish?subject=…`: 202 once the message is on its way; with `stream`, 200 once the stream has it. */
export function addPublish(app: FastifyInstance, parts: EndpointParts): void {
  const { admit, effects, presentedOf, messageIdOf, clock } = parts;

  addOperation(app, PUBLISH, async (request, query, reply) => {
    const asked = refuseBatch(request, query);
    const wanted = asked.ok ? readWanted(request, asked.value, clock) : asked;
    const message = wanted.ok ? allowed(wanted.value.message) : wanted;
    const idOf = wanted.ok ? derivedIdOf(wanted.value, messageIdOf) : undefined;
    const ask = askOf("publish", presentedOf(request), message, request);
    const admission = orRefuse(await admit({ ...ask, ...(idOf && { messageIdOf: idOf }) }));
    const { storing, message: given } = orRefuse(wanted);
    const sending = idOf ? withId(given, idOf(admission.identity), request.facts) : given;
    const outcome = storing
      ? await effects.store(admission, sending, storing)
      : await effects.publish(admission, sending);
    const body = JSON.stringify(orRefuse<object>(outcome));
    return reply
      .code(storing ? 200 : 202)
      .header("content-type", "application/json")
      .send(body);
  });
}

interface Wanted {
  readonly message: Message;
  /** Absent: nobody waits for a stream. */
  readonly storing?: Storing;
  readonly key?: string;
}

function readWanted(request: FastifyRequest, query: Query, clock: EndpointParts["clock"]): Outcome<Wanted> {
  const message = readMessage(request, query.subject, clock);
  if (!message.ok) return message;
  const { stream, timeout } = query;
  if (stream === undefined) {
    if (timeout === undefined) return refuseDemands(request, { message: message.value });
    const why = "nothing is waited for without stream=NAME";
    return refused({ reason: "request_invalid", what: "query parameter timeout", why });
  }
  const demands = readDemands(request.raw.rawHeaders);
  if (!demands.ok) return demands;
  const { key, preconditions } = demands.value;
  const storing = {
    ...{ stream, preconditions, timeoutMs: timeout ?? TIMEOUT_DEFAULT_MS },
    keyed: key !== undefined,
  };
  return allowed({ message: message.value, storing, ...(key !== undefined && { key }) });
}

/** What makes the message's id of its key and of who sends it; undefined where it has a random one. */
function derivedIdOf(
  { key, message }: Wanted,
  messageIdOf: EndpointParts["messageIdOf"],
): ((identity: Identity) => string) | undefined {
  return key === undefined ? undefined : (identity) => messageIdOf(identity, message.facts.subject, key);
}

/** A batch taken for one message today would be many messages tomorrow. */
function refuseBatch<T>(request: FastifyRequest, query: Outcome<T>): Outcome<T> {
  const found = request.headers["content-type"] ?? "";
  if (!/^application\/x-ndjson\b/i.test(found)) return query;
  const expected = "one message; batches are not offered yet";
  return refused({ reason: "media_type_unsupported", found, expected });
}
