import { payloadDigest, uuidv7 } from "@countersign/seal";
import type { FastifyRequest } from "fastify";
import type { Ask } from "../admit.ts";
import type { Presented } from "../identity/identity.ts";
import type { Message } from "../publish.ts";
import { allowed, type Outcome, refused } from "../refusal.ts";
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
  const demand = findDemand(request.raw.rawHeaders);
  if (demand !== undefined) return refused({ reason: "header_refused", header: demand, why: NOT_OFFERED });
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

const NOT_OFFERED = "this version does not offer it; send the message without";

/**
 * Demands that change what a message means: sent once, only after a certain other, under an id of the caller's.
 * Passed over in silence, the caller would rely on what nobody keeps.
 */
function findDemand(rawHeaders: readonly string[]): string | undefined {
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] ?? "";
    const initial = name.charCodeAt(0) | 0x20;
    if (initial !== 0x69 /* i */ && initial !== 0x6e /* n */) continue;
    const lower = name.toLowerCase();
    if (lower === "idempotency-key" || lower.startsWith("nats-")) return lower.slice(0, 64);
  }
  return undefined;
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
