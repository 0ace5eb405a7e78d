import { payloadDigest, uuidv7 } from "@countersign/seal";
import type { FastifyRequest } from "fastify";
import type { Ask, RequestFacts } from "../admit.ts";
import type { Presented } from "../identity/identity.ts";
import type { HeaderList } from "../nats/connection.ts";
import type { Message } from "../prepare.ts";
import { allowed, type Outcome } from "../refusal.ts";
import type { Clock } from "../time.ts";
import { traceparentOf } from "../trace.ts";
import { natsHeadersOf } from "./headers.ts";
import { parseSubject } from "./subject.ts";

const NO_BYTES = new Uint8Array(0);

/** What a caller gave to be sent. */
export interface MessageGiven {
  readonly payload: Uint8Array;
  /** Checked; what is to travel with it. */
  readonly headers: HeaderList;
}

/** What one request to publish or to request carries: the body's bytes, and the headers that travel with them. */
export function readMessage(
  request: FastifyRequest,
  subjectText: string | undefined,
  clock: Clock,
): Outcome<Message> {
  const subject = parseSubject(subjectText, { wildcards: false });
  if (!subject.ok) return subject;
  const headers = natsHeadersOf(request.raw.rawHeaders);
  if (!headers.ok) return headers;
  const payload = request.body instanceof Uint8Array ? request.body : NO_BYTES;
  return allowed(makeMessage(subject.value, { payload, headers: headers.value }, request.facts, clock));
}

/** @param subject  checked */
export function makeMessage(
  subject: string,
  { payload, headers }: MessageGiven,
  { txn }: RequestFacts,
  clock: Clock,
): Message {
  const id = uuidv7(clock() * 1000);
  const facts = { id, subject, bytes: payload.length, digest: payloadDigest(payload) };
  return { facts, payload, headers, traceparent: traceparentOf(txn, id) };
}

/** The same message under an id of its own. */
export function withId(message: Message, id: string, { txn }: RequestFacts): Message {
  return { ...message, facts: { ...message.facts, id }, traceparent: traceparentOf(txn, id) };
}

/** What `admit` is asked for a message: the same for both verbs, refused parts and all. */
export function askOf(
  verb: "publish" | "request",
  presented: Outcome<Presented>,
  message: Outcome<Message>,
  { facts }: Pick<FastifyRequest, "facts">,
): Ask {
  if (!message.ok) return { presented, action: message, facts };
  const { subject } = message.value.facts;
  return { presented, action: allowed({ verb, subject }), message: message.value.facts, facts };
}
