import { type Acknowledgeable, sealAck } from "./ack-handle.ts";
import type { Admission } from "./admit.ts";
import type { AuditCompletion, AuditLog } from "./audit/record.ts";
import { setBounded } from "./bounded-map.ts";
import { holderOf } from "./identity/identity.ts";
import type { Connection, InboundMessage, Pool } from "./nats/connection.ts";
import { type DurableOptions, ensureDurable, type Fetched, fetchMessages } from "./nats/fetch.ts";
import type { Delivery } from "./nats/reader/delivery.ts";
import type { Action } from "./policy/action.ts";
import { consumerName } from "./policy/consumer.ts";
import type { Grant } from "./policy/grant.ts";
import { includes } from "./policy/pattern.ts";
import { allowed, type Outcome, refused } from "./refusal.ts";
import type { Arrival, Sender } from "./subscribe.ts";
import { type Clock, type EpochSeconds, isoTimeOf } from "./time.ts";

/** One message of a batch. */
export interface Consumed {
  readonly arrival: Arrival;
  readonly sender: Sender;
  readonly sequence: number;
  /** The handle that acknowledges it. */
  readonly ack: string;
}

/** What becomes of a message that was handed out. */
export type AckKind = "ack" | "nak" | "term" | "in-progress";

/** The effects on a consumer of one's own: taking a batch, and saying what became of each message. */
export interface Consume {
  fetch(admission: Admission, how: FetchHow): Promise<Outcome<readonly Consumed[]>>;
  acknowledge(admission: Admission, what: Acknowledgeable, how: AckHow): Promise<Outcome<void>>;
}

export interface FetchHow {
  readonly batch: number;
  readonly timeoutMs: number;
}

export interface AckHow {
  readonly as: AckKind;
  /** Only with `nak`: when it may come again. */
  readonly delayMs?: number;
}

/** A consumer that was there a moment ago is not asked for again; one that is gone is noticed by the fetch itself. */
const ENSURED_SECONDS = 300;
const ENSURED_MAX = 10_000;
/** An acknowledgement of an acknowledgement comes within milliseconds, but for an election. */
const ACK_TIMEOUT_MS = 5_000;

export interface ConsumeParts {
  readonly pool: Pool;
  readonly arrivalOf: (message: InboundMessage) => Arrival;
  /** The subkey `ack-handle` of the cluster secret. */
  readonly ackKey: () => Buffer;
  readonly audit: AuditLog;
  readonly clock: Clock;
  readonly instance: string;
}

export function createConsume(parts: ConsumeParts): Consume {
  const { pool, ackKey, clock } = parts;
  const ensured = new Map<string, EpochSeconds>();

  async function ensure(connection: Connection, options: DurableOptions): Promise<Outcome<void>> {
    const key = [options.stream, options.consumer, options.filter].join(" ");
    if ((ensured.get(key) ?? Number.NEGATIVE_INFINITY) + ENSURED_SECONDS > clock()) return allowed(undefined);
    const outcome = await ensureDurable(connection, options);
    if (outcome.ok) setBounded(ensured, key, clock(), ENSURED_MAX);
    return outcome;
  }

  async function take(
    { identity, grant }: Admission,
    { stream, subject, name }: Reading,
    how: FetchHow,
  ): Promise<Outcome<readonly Fetched[]>> {
    const connection = await pool.connectionFor(identity, grant);
    if (!connection.ok) return connection;
    const options = { stream, consumer: consumerName(grant.user, name), filter: subject };
    for (const isLast of [false, true]) {
      const there = await ensure(connection.value, options);
      if (!there.ok) return there;
      const fetched = await fetchMessages(connection.value, { ...options, ...how });
      if (!fetched.ok) return fetched;
      if (fetched.value)
        return allowed(fetched.value.filter(({ message }) => includes(subject, message.subject)));
      // Deleted since: it is made once more.
      ensured.delete([options.stream, options.consumer, options.filter].join(" "));
      if (isLast) break;
    }
    return refused({ reason: "nats_unavailable", why: "the consumer is deleted as soon as it is made" });
  }

  async function shown({ identity }: Admission, { name }: Reading, fetched: Fetched): Promise<Consumed> {
    const { message, delivery, acknowledgement } = fetched;
    const { stream, sequence } = delivery;
    const arrival = parts.arrivalOf(storedOf(message, delivery));
    const what = { stream, consumer: name, subject: message.subject, acknowledgement };
    const ack = sealAck(ackKey(), holderOf(identity), what);
    return { arrival, sender: await arrival.sender, sequence, ack };
  }

  return {
    async fetch(admission, how) {
      const reading = readingOf(admission.action);
      // The connection must not idle out while a message is waited for.
      const letGo = pool.hold(admission.identity, admission.grant);
      try {
        const fetched = await take(admission, reading, how);
        if (!fetched.ok) {
          complete(parts, admission, { outcome: "failed", why: fetched.refusal.reason });
          return fetched;
        }
        complete(parts, admission, { outcome: "replied", messages: fetched.value.length });
        return allowed(await Promise.all(fetched.value.map((one) => shown(admission, reading, one))));
      } finally {
        letGo();
      }
    },

    async acknowledge(admission, { acknowledgement }, how) {
      const connection = await pool.connectionFor(admission.identity, admission.grant);
      const message = { subject: acknowledgement, payload: Buffer.from(wordsOf(how)), headers: [] };
      const answer = connection.ok ? await connection.value.request(message, ACK_TIMEOUT_MS) : connection;
      if (answer.ok) complete(parts, admission, { outcome: "replied" });
      else complete(parts, admission, { outcome: "failed", why: answer.refusal.reason });
      return answer.ok ? allowed(undefined) : answer;
    },
  };
}

/** Without the reply subject, which is the consumer's own. */
function storedOf(
  { subject, payload, headers }: InboundMessage,
  { sequence, brokerTime }: Delivery,
): InboundMessage {
  return { subject, payload, headers, sequence, brokerTime };
}

interface Reading {
  readonly stream: string;
  readonly subject: string;
  readonly name: string;
}

function readingOf(action: Action | undefined): Reading {
  if (action?.verb !== "read-stream" || action.consumer === undefined) {
    throw new Error("a fetch is admitted as read-stream, through a declared consumer");
  }
  return { stream: action.stream, subject: action.subject, name: action.consumer };
}

/**
 * The action of a fetch, which says what one's own line filters by.
 *
 * @returns `not_granted` where no line declares that consumer; `request_invalid` where several do, under other subjects
 */
export function fetchAction(grant: Grant, stream: string, consumer: string): Outcome<Action> {
  const patterns = grant.may.flatMap(({ verb, pattern, object }) => {
    const declared = verb === "read-stream" && object?.stream === stream ? object.consumers : undefined;
    return Array.isArray(declared) && declared.includes(consumer) ? [pattern] : [];
  });
  const [subject, ...others] = new Set(patterns);
  if (others.length > 0) {
    const why = `is declared for ${others.length + 1} filters of ${stream}, and one consumer has one; declare it once`;
    return refused({ reason: "request_invalid", what: `consumer ${consumer}`, why });
  }
  // Without a line nothing is granted, whatever the subject.
  return allowed({ verb: "read-stream", stream, subject: subject ?? ">", consumer });
}

/** @source  nats-server server/consumer.go, the payloads of acknowledgements */
function wordsOf({ as, delayMs }: AckHow): string {
  switch (as) {
    case "ack":
      return "+ACK";
    case "nak":
      return delayMs === undefined ? "-NAK" : `-NAK {"delay":${delayMs * 1_000_000}}`;
    case "term":
      return "+TERM";
    case "in-progress":
      return "+WPI";
  }
}

function complete(
  { audit, clock, instance }: ConsumeParts,
  { facts }: Admission,
  how: Pick<AuditCompletion, "outcome" | "why" | "messages">,
): void {
  audit.complete({ kind: "completion", at: isoTimeOf(clock()), instance, txns: [facts.txn], ...how });
}
