import { payloadDigest, uuidv7 } from "@countersign/seal";
import type { FastifyRequest } from "fastify";
import type { Ask, RequestFacts } from "../admit.ts";
import type { Presented } from "../identity/identity.ts";
import type { Message } from "../prepare.ts";
import { allowed, type Outcome } from "../refusal.ts";
import type { Clock } from "../time.ts";
import { traceparentOf } from "../trace.ts";
import { natsHeadersOf } from "./headers.ts";
import { parseSubject } from "./subject.ts";

const NO_BYTES = new Uint8Array(0);

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
  const id = uuidv7(clock() * 1000);
  const facts = { id, subject: subject.value, bytes: payload.length, digest: payloadDigest(payload) };
  return allowed({
    facts,
    payload,
    headers: headers.value,
    traceparent: traceparentOf(request.facts.txn, id),
  });
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
  { facts }: FastifyRequest,
): Ask {
  if (!message.ok) return { presented, action: message, facts };
  const { subject } = message.value.facts;
  return { presented, action: allowed({ verb, subject }), message: message.value.facts, facts };
}
