import type { Readable } from "node:stream";
import type { FastifyInstance, FastifyRequest } from "fastify";
import { allowed, type Outcome, type Refusal, refused } from "../refusal.ts";
import { answerBatch, type BatchShared } from "./batch.ts";
import { DEMAND_HEADERS, readDemands, refuseDemands } from "./demands.ts";
import { readMessage } from "./message.ts";
import { addOperation, operation } from "./operation.ts";
import { duration, matching, optional, subject, type Values } from "./parameter.ts";
import type { EndpointParts } from "./parts.ts";
import { createSend, type Sending } from "./send.ts";
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

const LINE_SCHEMA = {
  type: "object",
  required: ["subject"],
  additionalProperties: false,
  properties: {
    subject: { type: "string" },
    data: { type: "string", description: "The payload, as UTF-8." },
    dataBase64: {
      type: "string",
      contentEncoding: "base64",
      description: "The payload, in place of `data`.",
    },
    headers: {
      type: "object",
      description: "Names keep their case; NATS's preconditions may be among them.",
      additionalProperties: { type: ["string", "array"], items: { type: "string" } },
    },
    idempotencyKey: { type: "string", minLength: 1, maxLength: 256 },
  },
};

const OUTCOME_SCHEMA = {
  type: "object",
  required: ["status"],
  properties: {
    status: { type: "integer" },
    ...SENT,
    ...STORED,
    code: { type: "string", description: "Of a line that was refused, as in a problem." },
    detail: { type: "string" },
  },
};

const PUBLISH = operation({
  id: "publish",
  method: "POST",
  path: "/v1/publish",
  tag: "messages",
  summary: "Publish a message",
  description:
    "The body becomes the payload, `Msg-<name>` its headers. Without `stream` it is answered once the message is sealed and on its way; with `stream`, once the stream has it. A body of `application/x-ndjson` is a batch: many messages, answered while they are read.",
  parameters: {
    subject: optional(subject({ wildcards: false, example: "orders.eu.4711.create" }), {
      shown: true,
    }),
    stream: optional(STREAM),
    timeout: optional(TIMEOUT),
  },
  headers: DEMAND_HEADERS,
  body: {
    description:
      "The payload; or a batch: a JSON object a line, each a message of its own. `subject` then stands in the lines.",
    required: false,
    content: { "*/*": { example: "{}" }, "application/x-ndjson": { schema: LINE_SCHEMA } },
  },
  answers: {
    200: {
      description:
        "The stream has it; for a batch, an outcome for each line, in order, with the `status` that it would have had alone.",
      content: {
        "application/json": {
          schema: {
            type: "object",
            required: [...Object.keys(SENT), ...Object.keys(STORED)],
            properties: { ...SENT, ...STORED },
          },
        },
        "application/x-ndjson": { schema: OUTCOME_SCHEMA },
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
    "no_responders",
    "outcome_unknown",
  ],
});

type Query = Values<(typeof PUBLISH)["parameters"]>;

/**
 * `POST /v1/publish?subject=…`: 202 once the message is on its way; with `stream`, 200 once the stream has it. With
 * `application/x-ndjson`, many messages, each answered by a line.
 */
export function addPublish(app: FastifyInstance, parts: EndpointParts): void {
  const { presentedOf, clock } = parts;
  const send = createSend(parts);

  app.register(async (scope) => {
    // Handed on as it comes, in this scope alone: elsewhere such a body is a payload like any other.
    scope.addContentTypeParser("application/x-ndjson", (_request, body, done) => done(null, new Lines(body)));
    addOperation(scope, PUBLISH, async (request, query, reply) => {
      if (request.body instanceof Lines) {
        const shared = query.ok ? readShared(request, query.value) : query;
        return await answerBatch(parts, send, { request, reply, shared, body: request.body.bytes });
      }
      const sending = query.ok ? readSending(request, query.value, clock) : query;
      const { facts } = request;
      const body = orRefuse<object>(await send({ presented: presentedOf(request), facts, sending }));
      const status = sending.ok && sending.value.storing ? 200 : 202;
      return reply.code(status).header("content-type", "application/json").send(JSON.stringify(body));
    });
  });
}

/** The body of a batch, not read yet. */
class Lines {
  readonly bytes: Readable;

  constructor(bytes: Readable) {
    this.bytes = bytes;
  }
}

function readSending(request: FastifyRequest, query: Query, clock: EndpointParts["clock"]): Outcome<Sending> {
  const message = readMessage(request, query.subject, clock);
  if (!message.ok) return message;
  const { stream, timeout } = query;
  if (stream === undefined) {
    return timeout === undefined
      ? refuseDemands(request, { message: message.value })
      : refused(NOT_WAITED_FOR);
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

const NOT_WAITED_FOR: Refusal = {
  reason: "request_invalid",
  what: "query parameter timeout",
  why: "nothing is waited for without stream=NAME",
};

/** What the lines of a batch share; what stands in each of them is not said for all. */
function readShared(request: FastifyRequest, { subject, stream, timeout }: Query): Outcome<BatchShared> {
  if (subject !== undefined) {
    const why = "each line of a batch has its own";
    return refused({ reason: "request_invalid", what: "query parameter subject", why });
  }
  if (stream === undefined && timeout !== undefined) return refused(NOT_WAITED_FOR);
  const header = headerOfLines(request.raw.rawHeaders);
  if (header !== undefined) {
    return refused({ reason: "header_refused", header, why: "each line of a batch has its own `headers`" });
  }
  return allowed({ ...(stream !== undefined && { stream }), timeoutMs: timeout ?? TIMEOUT_DEFAULT_MS });
}

/** @returns the first that would be one message's */
function headerOfLines(rawHeaders: readonly string[]): string | undefined {
  const names = rawHeaders.filter((_, at) => at % 2 === 0).map((name) => name.toLowerCase());
  return names.find((name) => /^(?:msg-|ce-|nats-|idempotency-key$)/.test(name))?.slice(0, 64);
}
