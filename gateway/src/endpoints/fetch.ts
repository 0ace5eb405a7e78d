import type { FastifyInstance } from "fastify";
import { z } from "zod";
import { openAck } from "../ack-handle.ts";
import type { AckHow } from "../consume.ts";
import { fetchAction } from "../consume.ts";
import { holderOf } from "../identity/identity.ts";
import { allowed, type Outcome, refused } from "../refusal.ts";
import { parseDurationMs } from "../time.ts";
import { addOperation, operation } from "./operation.ts";
import { duration, integer, matching, required, withDefault } from "./parameter.ts";
import type { EndpointParts } from "./parts.ts";
import { orRefuse } from "./server.ts";
import { messageBody } from "./sse.ts";

const CONSUMER = matching("The consumer, as the policy's line declares it: `consumers [billing]`.", {
  grammar: /^[A-Za-z0-9_-]{1,64}$/,
  expected: "the name of a consumer, 1–64 of A–Z a–z 0–9 _ -",
  example: "desk",
});

const STREAM = matching("The stream.", {
  grammar: /^[A-Za-z0-9_-]{1,64}$/,
  expected: "the name of a stream, 1–64 of A–Z a–z 0–9 _ -",
  example: "ORDERS",
});

const BATCH = integer("Messages at most.", { from: 1, to: 256, example: 10 });

const TIMEOUT = duration("How long to wait for the first.", { from: "1ms", to: "60s", example: "1s" });

const FETCH = operation({
  id: "fetch",
  method: "POST",
  path: "/v1/fetch",
  tag: "streams",
  summary: "Take messages from a consumer of one's own",
  description:
    "What a stream keeps, one batch at a time, through a durable consumer that remembers what is done. It is made at the first fetch, with the filter of the policy's line, and begins with the first message of the stream. A message that is not acknowledged within 30 seconds comes again.",
  parameters: {
    stream: required(STREAM),
    consumer: required(CONSUMER),
    batch: withDefault(BATCH, "10"),
    timeout: withDefault(TIMEOUT, "5s"),
  },
  answers: {
    200: {
      description: "The messages, none when none came.",
      content: {
        "application/json": {
          schema: {
            type: "object",
            required: ["messages"],
            properties: {
              messages: {
                type: "array",
                items: {
                  type: "object",
                  required: ["subject", "headers", "sender", "time", "sequence", "ack"],
                  properties: {
                    subject: { type: "string" },
                    data: { type: "string", description: "Of text and JSON." },
                    dataBase64: { type: "string", description: "Of everything else." },
                    contentType: { type: "string" },
                    headers: { type: "object" },
                    sender: { type: "object", required: ["verified"], description: "Whom its seal proves." },
                    id: { type: "string" },
                    txn: { type: "string" },
                    time: { type: "string", format: "date-time" },
                    sequence: { type: "integer", minimum: 1 },
                    ack: { type: "string", description: "The handle for `POST /v1/ack`." },
                  },
                },
              },
            },
          },
        },
      },
    },
  },
  problems: ["not_found", "unavailable"],
});

const HANDLE_CHARACTERS_MAX = 4_096;
const BODY_BYTES_MAX = 8_192;
const KINDS = ["ack", "nak", "term", "in-progress"] as const;

const ACK = operation({
  id: "ack",
  method: "POST",
  path: "/v1/ack",
  tag: "streams",
  summary: "Say what became of a fetched message",
  description:
    "`ack`: it is done. `nak`: it is to come again, after `delay` if there is one. `term`: it is never to come again. `in-progress`: it is being worked on, and the 30 seconds begin anew. A handle is good in the hands of whom it was given to.",
  parameters: {},
  body: {
    description: "The handle, and what became of it.",
    required: true,
    content: {
      "application/json": {
        schema: {
          type: "object",
          required: ["ack", "as"],
          additionalProperties: false,
          properties: {
            ack: { type: "string", maxLength: HANDLE_CHARACTERS_MAX },
            as: { type: "string", enum: KINDS },
            delay: { type: "string", description: "Only with `nak`: 1s to 24h." },
          },
        },
        example: { ack: "$ACK", as: "ack" },
      },
    },
  },
  answers: { 204: { description: "The stream has taken it." } },
  problems: ["no_responders", "timeout"],
});

const DELAY_MS_MAX = 86_400_000;

const ACK_BODY = z.strictObject({
  ack: z.string().min(1).max(HANDLE_CHARACTERS_MAX),
  as: z.enum(KINDS),
  delay: z.string().optional(),
});

/** `POST /v1/fetch` takes a batch from a durable consumer; `POST /v1/ack` says what became of one of its messages. */
export function addFetch(app: FastifyInstance, parts: EndpointParts): void {
  const { admit, consume, presentedOf, ackKey } = parts;

  addOperation(app, FETCH, async (request, query, reply) => {
    const { stream = "", consumer = "" } = query.ok ? query.value : {};
    const action = query.ok
      ? {
          asked: `read-stream ${stream} consumers [${consumer}]`,
          under: (_: unknown, grant: Parameters<typeof fetchAction>[0]) =>
            fetchAction(grant, stream, consumer),
        }
      : query;
    const admission = orRefuse(
      await admit({ presented: presentedOf(request), action, facts: request.facts }),
    );
    const { batch, timeout: timeoutMs } = orRefuse(query);
    const consumed = orRefuse(await consume.fetch(admission, { batch, timeoutMs }));
    const messages = consumed.map(({ arrival, sender, sequence, ack }) => ({
      ...messageBody(arrival, sender),
      sequence,
      ack,
    }));
    return reply.header("cache-control", "no-store").send({ messages });
  });

  addOperation(app, ACK, async (request, query, reply) => {
    const asked = query.ok ? readAck(request.body) : query;
    let what: ReturnType<typeof openAck>;
    const action = asked.ok
      ? {
          asked: `acknowledge as ${asked.value.as}`,
          under: (identity: Parameters<typeof holderOf>[0]) => {
            what = openAck(ackKey(), holderOf(identity), asked.value.handle);
            if (!what) return refused({ reason: "request_invalid", what: "ack", why: NOT_YOURS });
            const { stream, consumer, subject } = what;
            return allowed({ verb: "read-stream" as const, stream, subject, consumer });
          },
        }
      : asked;
    const admission = orRefuse(
      await admit({ presented: presentedOf(request), action, facts: request.facts }),
    );
    if (what) orRefuse(await consume.acknowledge(admission, what, orRefuse(asked)));
    return reply.code(204).send();
  });
}

const NOT_YOURS = "expected a handle that a fetch of yours gave";

function readAck(body: unknown): Outcome<AckHow & { readonly handle: string }> {
  const expected = `expected JSON {"ack", "as": ${KINDS.map((kind) => `"${kind}"`).join(" or ")}, "delay"?}`;
  const invalid = (why: string) => refused({ reason: "request_invalid", what: "body", why });
  if (!(body instanceof Uint8Array) || body.length > BODY_BYTES_MAX) return invalid(expected);
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(body).toString("utf8"));
  } catch {
    return invalid(expected);
  }
  const parsed = ACK_BODY.safeParse(value);
  if (!parsed.success) return invalid(expected);
  const { ack: handle, as, delay } = parsed.data;
  if (delay === undefined) return allowed({ handle, as });
  const delayMs = parseDurationMs(delay);
  const isRight = as === "nak" && delayMs !== undefined && delayMs >= 1_000 && delayMs <= DELAY_MS_MAX;
  return isRight ? allowed({ handle, as, delayMs }) : invalid("delay: only with nak, from 1s to 24h");
}
