import type { ServerResponse } from "node:http";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { overlaps } from "../policy/pattern.ts";
import { allowed, type Outcome, type Refusal, refused } from "../refusal.ts";
import type { EndCode, StreamEvent, StreamSink, SubscribeAdmission } from "../subscribe.ts";
import { addOperation, operation } from "./operation.ts";
import { repeated, subject, type Values } from "./parameter.ts";
import type { EndpointParts } from "./parts.ts";
import { orRefuse } from "./server.ts";
import { END_RECONNECTS, eventText } from "./sse.ts";

/** Subjects on one stream. */
const SUBJECTS_MAX = 16;

/** Bytes a reader may leave unread in this process before its stream ends as too slow. */
const UNREAD_BYTES_MAX = 1_048_576;

/** How long a reader may take over what was left when its stream ended. */
const LAST_EVENT_MS = 5_000;

/** Below the two minutes after which IIS and most load balancers cut a silent response. */
const HEARTBEAT_MS = 15_000;

const SSE_HEADERS = {
  "content-type": "text/event-stream",
  // `no-transform` and `identity` keep IIS and proxies from compressing, which would hold events back.
  "cache-control": "no-cache, no-transform",
  "content-encoding": "identity",
  "x-accel-buffering": "no",
};

const SUBSCRIBE = operation({
  id: "subscribe",
  method: "GET",
  path: "/v1/subscribe",
  tag: "streams",
  summary: "Watch messages as they come",
  description:
    "Server-Sent Events, each with the sender that its seal proves; the last one says why the stream ends.",
  parameters: { subject: repeated(subject({ wildcards: true, example: "orders.eu.>" }), SUBJECTS_MAX) },
  answers: {
    200: {
      description: "A stream of events.",
      content: { "text/event-stream": { schema: { type: "string" } } },
    },
  },
  problems: ["invalid_subject", "connections_exceeded"],
});

/** `GET /v1/subscribe?subject=…` (repeatable): Server-Sent Events, each with the verified sender. */
export function addSubscribe(app: FastifyInstance, parts: EndpointParts): void {
  const { streams } = parts;

  addOperation(app, SUBSCRIBE, async (request, query, reply) => {
    const admissions = orRefuse(await admitAll(parts, request, subjectsOf(query)));
    const sink = new ResponseSink(reply);
    // Nothing has been sent yet, so a refusal is still an ordinary answer.
    const stop = orRefuse(await streams.open(admissions, sink));
    sink.begin(stop);
    return reply;
  });
}

/** One decision, and one record, per subject, up to the first that is refused; an ill-formed one is a decision too. */
async function admitAll(
  { admit, presentedOf, streams }: EndpointParts,
  request: FastifyRequest,
  subjects: readonly Outcome<string>[],
): Promise<Outcome<readonly SubscribeAdmission[]>> {
  const presented = presentedOf(request);
  const facts = { ...request.facts, lane: "sse" };
  const admissions: SubscribeAdmission[] = [];
  for (const subject of subjects) {
    const action = subject.ok ? allowed({ verb: "subscribe" as const, subject: subject.value }) : subject;
    const admission = await admit({ presented, action, facts });
    if (!admission.ok) {
      streams.neverBegan(admissions, admission.refusal);
      return admission;
    }
    admissions.push({ admission: admission.value, subject: orRefuse(subject) });
  }
  return allowed(admissions);
}

/** An ill-formed query is one decision: that nothing was asked for that could be decided upon. */
function subjectsOf(query: Outcome<Values<(typeof SUBSCRIBE)["parameters"]>>): readonly Outcome<string>[] {
  if (!query.ok) return [query];
  const { subject: subjects } = query.value;
  const overlap = findOverlap(subjects);
  return overlap ? [refused(overlap)] : subjects.map((subject) => allowed(subject));
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

/** Writes events to one response, and bounds what a slow reader may leave unread. */
class ResponseSink implements StreamSink {
  readonly #reply: FastifyReply;
  readonly #response: ServerResponse;
  /** What came before the head was sent. */
  #early: string[] | undefined = [];
  #earlyLength = 0;
  #ended = false;
  #heartbeat: NodeJS.Timeout | undefined;

  constructor(reply: FastifyReply) {
    this.#reply = reply;
    this.#response = reply.raw;
  }

  /** Takes the response over from the framework and sends the head at once, so that the reader knows it is open. */
  begin(stop: () => void): void {
    this.#reply.hijack();
    this.#response.on("close", stop);
    // A reader that left while NATS was answering has closed already, and will not say so again.
    if (this.#response.destroyed) stop();
    this.#response.writeHead(200, {
      ...(this.#reply.getHeaders() as Record<string, string>),
      ...SSE_HEADERS,
    });
    this.#response.write(`: open\n\n${this.#early?.join("") ?? ""}`);
    this.#early = undefined;
    this.#earlyLength = 0;
    if (this.#ended) this.#finish();
    else this.#heartbeat = setInterval(() => this.#response.write(": \n\n"), HEARTBEAT_MS).unref();
  }

  deliver(event: StreamEvent): boolean {
    this.#write(eventText(event));
    return this.#earlyLength + this.#response.writableLength <= UNREAD_BYTES_MAX;
  }

  end(code: EndCode): void {
    this.#ended = true;
    clearInterval(this.#heartbeat);
    this.#write(`event: end\ndata: ${JSON.stringify({ code, reconnect: END_RECONNECTS[code] })}\n\n`);
    if (!this.#early) this.#finish();
  }

  /** A reader that does not take the end either is cut off: what it left unread counts for no stream any more. */
  #finish(): void {
    this.#response.end();
    setTimeout(() => this.#response.destroy(), LAST_EVENT_MS).unref();
  }

  #write(text: string): void {
    if (this.#early) {
      this.#early.push(text);
      this.#earlyLength += text.length;
    } else if (this.#response.writable) this.#response.write(text);
  }
}
