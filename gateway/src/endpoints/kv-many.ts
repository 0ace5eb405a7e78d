import type { FastifyInstance, FastifyRequest } from "fastify";
import { subjectOf } from "../key-value.ts";
import { allowed, type Outcome, refused } from "../refusal.ts";
import type { EndCode, Positions, ReadFrom, StreamEvent, StreamSink } from "../subscribe.ts";
import { EVENT_ID, formatEventId, parseEventId } from "./event-id.ts";
import { BUCKET } from "./kv.ts";
import { addOperation, operation } from "./operation.ts";
import { choice, type Kind, matching, optional, required, type Values } from "./parameter.ts";
import type { EndpointParts } from "./parts.ts";
import { LAST_EVENT_ID, LAST_EVENT_ID_HEADER } from "./read-from.ts";
import { ResponseSink } from "./response-sink.ts";
import { orRefuse } from "./server.ts";

const KEYS: Kind<string> = matching(
  "Keys, in which `*` stands for one part and a final `>` for one or more.",
  {
    grammar: /^(?=.{1,180}$)(?:[A-Za-z0-9_=/-]+|\*)(?:\.(?:[A-Za-z0-9_=/-]+|\*)){0,12}(?:\.>)?$/,
    expected: "a key or a pattern of keys, 1–180 of A–Z a–z 0–9 _ = / - . * and a final >",
    example: "demo-alice.>",
  },
);

const LIST = operation({
  id: "kv-keys",
  method: "GET",
  path: "/v1/kv/keys",
  tag: "key-value",
  summary: "List keys that have a value",
  parameters: { bucket: required(BUCKET), key: required(KEYS) },
  answers: {
    200: {
      description: "The keys, as of now, in their order.",
      content: {
        "application/json": {
          schema: {
            type: "object",
            required: ["bucket", "keys", "complete"],
            properties: {
              bucket: { type: "string" },
              keys: {
                type: "array",
                items: {
                  type: "object",
                  required: ["key", "revision"],
                  properties: { key: { type: "string" }, revision: { type: "integer", minimum: 1 } },
                },
              },
              complete: { type: "boolean", description: "Whether they are all. Narrow the pattern, if not." },
            },
          },
        },
      },
    },
  },
  problems: ["not_found", "connections_exceeded", "timeout"],
});

const FROM = choice(
  "Where to begin: with the value of each key as it is, or with what is written from now on.",
  ["current", "new"],
  "current",
);

const WATCH = operation({
  id: "kv-watch",
  method: "GET",
  path: "/v1/kv/watch",
  tag: "key-value",
  summary: "Watch keys as they change",
  description:
    "Server-Sent Events as of `GET /v1/subscribe`, with `key`, `revision` and `operation` (`put`, `delete`, `purge`) in each. Whoever comes back with the id of the last event gets the latest value of each key that has changed since.",
  parameters: {
    bucket: required(BUCKET),
    key: required(KEYS),
    from: optional(FROM),
    "last-event-id": optional(LAST_EVENT_ID),
  },
  headers: { "Last-Event-ID": LAST_EVENT_ID_HEADER },
  answers: {
    200: {
      description: "A stream of events.",
      content: { "text/event-stream": { schema: { type: "string" } } },
    },
  },
  problems: ["not_found", "connections_exceeded"],
});

/** `GET /v1/kv/keys` and `GET /v1/kv/watch`: many keys of a bucket at once, under one pattern. */
export function addKvMany(app: FastifyInstance, parts: EndpointParts): void {
  const { admit, keyValue, streams, presentedOf } = parts;

  addOperation(app, LIST, async (request, query, reply) => {
    const action = query.ok ? allowed({ verb: "read-kv" as const, ...query.value }) : query;
    const admission = orRefuse(
      await admit({ presented: presentedOf(request), action, facts: request.facts }),
    );
    const { bucket, key } = orRefuse(query);
    const listing = orRefuse(await keyValue.list(admission, { bucket, key }));
    return reply.header("cache-control", "no-store").send({ bucket, ...listing });
  });

  addOperation(app, WATCH, async (request, query, reply) => {
    const asked = watchOf(query, request);
    const action = asked.ok ? allowed({ verb: "read-kv" as const, ...asked.value.place }) : asked;
    const facts = { ...request.facts, lane: "sse" };
    const admission = orRefuse(await admit({ presented: presentedOf(request), action, facts }));
    const { subject, stream, from, after } = orRefuse(asked);
    const idOf = (positions: Positions): string => formatEventId(stream, [subject], positions);
    const response = new ResponseSink(reply, idOf);
    const sink = new WatchSink(response, after);
    const reading = { stream, from: [from] };
    const stop = orRefuse(await streams.open({ admissions: [{ admission, subject }], sink, reading }));
    response.begin(stop);
    return reply;
  });
}

interface Watch {
  readonly place: { readonly bucket: string; readonly key: string };
  readonly subject: string;
  readonly stream: string;
  readonly from: ReadFrom;
  /** What the reader has seen already, 0 for nothing: revisions up to it are left out. */
  readonly after: number;
}

/** A bucket keeps the last of each key, so that all of them, less what was seen, is what has changed since. */
function watchOf(
  query: Outcome<Values<(typeof WATCH)["parameters"]>>,
  { headers }: FastifyRequest,
): Outcome<Watch> {
  if (!query.ok) return query;
  const { bucket, key, from = "current", "last-event-id": inQuery } = query.value;
  const place = { bucket, key };
  const [subject, stream] = [subjectOf(place), `KV_${bucket}`];
  const header = headers["last-event-id"];
  const id = header === undefined || header === "" ? inQuery : String(header);
  if (id === undefined) {
    return allowed({
      place,
      subject,
      stream,
      from: { from: from === "new" ? "new" : "last-per-subject" },
      after: 0,
    });
  }
  const seen = parseEventId(id, [subject]);
  const [after] = seen?.positions ?? [];
  if (seen?.stream !== stream || after === undefined) {
    const why = `expected ${EVENT_ID.expected}, of the bucket ${bucket}: ${stream}:17`;
    return refused({ reason: "request_invalid", what: "last event id", why });
  }
  return allowed({ place, subject, stream, from: { from: "last-per-subject" }, after });
}

/** Passes on what is later than a revision. */
class WatchSink implements StreamSink {
  readonly #sink: StreamSink;
  readonly #after: number;

  constructor(sink: StreamSink, after: number) {
    this.#sink = sink;
    this.#after = after;
  }

  deliver(event: StreamEvent): boolean {
    const [revision = 0] = event.positions ?? [];
    return revision <= this.#after || this.#sink.deliver(event);
  }

  drained(): Promise<boolean> {
    return this.#sink.drained();
  }

  /** Where it begins lies before what was seen, which counts on. */
  reached(positions: Positions): void {
    this.#sink.reached(positions.map((position) => Math.max(position, this.#after)));
  }

  end(code: EndCode): void {
    // Values that were written over are missed by nobody: whoever comes back gets the latest.
    this.#sink.end(code === "messages_gone" ? "unavailable" : code);
  }
}
