import type { FastifyInstance, FastifyRequest } from "fastify";
import type { Action } from "../policy/action.ts";
import { overlaps } from "../policy/pattern.ts";
import { allowed, type Outcome, type Refusal, refused } from "../refusal.ts";
import type { StoredReading, SubscribeAdmission } from "../subscribe.ts";
import { formatEventId } from "./event-id.ts";
import { addOperation, operation } from "./operation.ts";
import { optional, repeated, subject, type Values } from "./parameter.ts";
import type { EndpointParts } from "./parts.ts";
import { FROM, LAST_EVENT_ID, LAST_EVENT_ID_HEADER, readingOf, STREAM } from "./read-from.ts";
import { ResponseSink } from "./response-sink.ts";
import { orRefuse } from "./server.ts";

/** Subjects on one stream. */
const SUBJECTS_MAX = 16;

const SUBSCRIBE = operation({
  id: "subscribe",
  method: "GET",
  path: "/v1/subscribe",
  tag: "streams",
  summary: "Watch messages as they come",
  description:
    "Server-Sent Events, each with the sender that its seal proves; the last one says why the stream ends. With `stream`, what a stream keeps: each event has an id, after which reading goes on exactly, on any instance. Each subject takes one of the user's numbered consumers of that stream, of which there are as many as the policy's `limits.connections`.",
  parameters: {
    subject: repeated(subject({ wildcards: true, example: "orders.eu.>" }), SUBJECTS_MAX),
    stream: optional(STREAM),
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
  problems: ["invalid_subject", "not_found", "connections_exceeded"],
});

type Query = Outcome<Values<(typeof SUBSCRIBE)["parameters"]>>;

/** `GET /v1/subscribe?subject=…` (repeatable), `&stream=…`: Server-Sent Events, each with the verified sender. */
export function addSubscribe(app: FastifyInstance, parts: EndpointParts): void {
  const { streams } = parts;

  addOperation(app, SUBSCRIBE, async (request, query, reply) => {
    const asked = askOf(query, request);
    const admissions = orRefuse(await admitAll(parts, request, asked));
    const { subjects, reading } = orRefuse(asked);
    const idOf = (positions: readonly number[]) => formatEventId(reading?.stream ?? "", subjects, positions);
    const sink = new ResponseSink(reply, idOf);
    // Nothing has been sent yet, so a refusal is still an ordinary answer.
    const stop = orRefuse(await streams.open({ admissions, sink, ...(reading && { reading }) }));
    sink.begin(stop);
    return reply;
  });
}

interface Asked {
  readonly subjects: readonly string[];
  /** Absent: messages as they are published. */
  readonly reading?: StoredReading;
}

/** One decision, and one record, per subject, up to the first that is refused; an ill-formed one is a decision too. */
async function admitAll(
  { admit, presentedOf, streams }: EndpointParts,
  request: FastifyRequest,
  asked: Outcome<Asked>,
): Promise<Outcome<readonly SubscribeAdmission[]>> {
  const presented = presentedOf(request);
  const facts = { ...request.facts, lane: "sse" };
  if (!asked.ok) {
    const admission = await admit({ presented, action: asked, facts });
    return admission.ok ? asked : admission;
  }
  const { subjects, reading } = asked.value;
  const admissions: SubscribeAdmission[] = [];
  for (const subject of subjects) {
    const action: Action = reading
      ? { verb: "read-stream", stream: reading.stream, subject }
      : { verb: "subscribe", subject };
    const admission = await admit({ presented, action: allowed(action), facts });
    if (!admission.ok) {
      streams.neverBegan(admissions, admission.refusal);
      return admission;
    }
    admissions.push({ admission: admission.value, subject });
  }
  return allowed(admissions);
}

/** An ill-formed query is one decision: that nothing was asked for that could be decided upon. */
function askOf(query: Query, { headers }: FastifyRequest): Outcome<Asked> {
  if (!query.ok) return query;
  const { subject: subjects, stream, from, "last-event-id": lastEventId } = query.value;
  const overlap = findOverlap(subjects);
  if (overlap) return refused(overlap);
  const header = headers["last-event-id"];
  const reading = readingOf({ subjects, stream, from, lastEventId, header: header && String(header) });
  if (!reading.ok) return reading;
  return allowed({ subjects, ...(reading.value && { reading: reading.value }) });
}

/** nats-server delivers a message once for each subscription it matches: the reader would see it twice. */
function findOverlap(subjects: readonly string[]): Refusal | undefined {
  for (const [at, subject] of subjects.entries()) {
    const other = subjects.slice(0, at).find((earlier) => overlaps(earlier, subject));
    if (other === undefined) continue;
    const why = `"${shown(other)}" and "${shown(subject)}" share subjects, whose messages would come twice; use one of them, or two streams`;
    return { reason: "request_invalid", what: "query parameter subject", why };
  }
  return undefined;
}

/** Both names and the remedy fit into one detail. */
function shown(subject: string): string {
  return subject.length <= SHOWN_MAX ? subject : `${subject.slice(0, SHOWN_MAX)}...`;
}

const SHOWN_MAX = 64;
