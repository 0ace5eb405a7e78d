import { randomBytes } from "node:crypto";
import { allowed, type Outcome, refused } from "../refusal.ts";
import type { Connection, InboundMessage } from "./connection.ts";
import { type Delivery, parseDelivery } from "./reader/delivery.ts";
import { askJetStream } from "./reader/jetstream-api.ts";

/** A message that a durable consumer has handed out, to be acknowledged by its reply subject. */
export interface Fetched {
  readonly message: InboundMessage;
  readonly delivery: Delivery;
  /** Where it is acknowledged. */
  readonly acknowledgement: string;
}

export interface FetchOptions {
  readonly stream: string;
  /** The full name. */
  readonly consumer: string;
  readonly batch: number;
  readonly timeoutMs: number;
}

type Pulled = Omit<FetchOptions, "timeoutMs">;

export interface DurableOptions extends Pick<FetchOptions, "stream" | "consumer"> {
  /** The one filter that the permissions name. */
  readonly filter: string;
}

/** All that one fetch brings: well below what an answer may hold. */
const FETCH_BYTES_MAX = 4 * 1024 * 1024;
/** What nats-server counts of a message besides its payload and headers: subject and reply. */
const NAMES_BYTES_MAX = 4_096;
/** An answer that waits for nothing comes within milliseconds, but for an election. */
const ANSWER_WITHIN_MS = 5_000;
/** How long the server's own word that nothing came may take on its way. */
const GRACE_MS = 1_000;
/** A message that was handed out and not acknowledged comes again after this. */
const ACKNOWLEDGE_WITHIN_MS = 30_000;
/** Handed out and not acknowledged, at once. */
const UNACKNOWLEDGED_MAX = 1_000;
const STREAM_UNKNOWN = 10059;

/**
 * Creates the durable consumer, or brings its filter in line with what the policy now allows.
 *
 * @returns `stream_unknown`, `request_invalid`, `nats_unavailable`
 */
export async function ensureDurable(
  connection: Connection,
  { stream, consumer, filter }: DurableOptions,
): Promise<Outcome<void>> {
  const answer = await askJetStream(connection, `CONSUMER.CREATE.${stream}.${consumer}.${filter}`, {
    stream_name: stream,
    config: {
      ...{ name: consumer, durable_name: consumer, filter_subject: filter },
      ...{ deliver_policy: "all", ack_policy: "explicit", max_ack_pending: UNACKNOWLEDGED_MAX },
      ack_wait: ACKNOWLEDGE_WITHIN_MS * 1_000_000,
    },
  });
  if (!answer.ok) return refused({ reason: "nats_unavailable", why: answer.refusal.reason });
  const { error } = answer.value;
  if (!error) return allowed(undefined);
  if (error.err_code === STREAM_UNKNOWN) return refused({ reason: "stream_unknown", stream });
  const why = (error.description ?? "").slice(0, 200);
  if (error.code !== 400) return refused({ reason: "nats_unavailable", why });
  return refused({ reason: "request_invalid", what: `stream ${stream}`, why });
}

/**
 * Takes what waits for a consumer, at most a batch; where nothing does, waits for one message as long as it is told to.
 * Nothing is asked for that is not taken: what came later would be handed out to nobody.
 *
 * @returns undefined when there is no such consumer
 */
export async function fetchMessages(
  connection: Connection,
  { timeoutMs, ...options }: FetchOptions,
): Promise<Outcome<readonly Fetched[] | undefined>> {
  const waiting = await pull(connection, options, { no_wait: true, withinMs: ANSWER_WITHIN_MS });
  if (!waiting.ok || waiting.value?.length !== 0) return waiting;
  const one = { ...options, batch: 1 };
  return pull(connection, one, { expires: timeoutMs * 1_000_000, withinMs: timeoutMs + GRACE_MS });
}

/** How long to wait: not at all, or nanoseconds; and when to give up on an answer. */
interface Waiting {
  readonly no_wait?: true;
  readonly expires?: number;
  readonly withinMs: number;
}

async function pull(
  connection: Connection,
  options: Pulled,
  { withinMs, ...waiting }: Waiting,
): Promise<Outcome<readonly Fetched[] | undefined>> {
  const inbox = `${connection.inboxPrefix}.${randomBytes(12).toString("base64url")}`;
  const { promise: ended, resolve: end } = Promise.withResolvers<Outcome<"done" | "missing">>();
  const fetched: Fetched[] = [];
  const subscription = await connection.subscribe({
    subject: inbox,
    onMessage: (message) => {
      const delivery = parseDelivery(message.reply);
      if (delivery && message.reply !== undefined) {
        fetched.push({ message, delivery, acknowledgement: message.reply });
        if (fetched.length === options.batch) end(allowed("done"));
        // Whatever was stored, only JetStream itself says how a fetch stands: without a reply subject.
      } else if (message.status === 503) end(allowed("missing"));
      else if (message.status !== undefined && message.status !== 100) end(allowed("done"));
    },
    // What was on its way comes again, when it is not acknowledged in time.
    onGap: () => end(allowed("done")),
    onEnd: () => end(refused({ reason: "nats_unavailable", why: "the connection ended" })),
  });
  if (!subscription.ok) return subscription;
  const timer = setTimeout(() => end(allowed("done")), withinMs);
  try {
    const asked = askNext(connection, { ...options, ...waiting }, inbox);
    if (!asked.ok) return asked;
    const outcome = await ended;
    if (!outcome.ok) return outcome;
    return allowed(outcome.value === "missing" ? undefined : fetched);
  } finally {
    clearTimeout(timer);
    subscription.value.end();
  }
}

function askNext(
  connection: Connection,
  { stream, consumer, ...waiting }: Pulled & Omit<Waiting, "withinMs">,
  inbox: string,
): Outcome<void> {
  const ask = {
    ...waiting,
    max_bytes: Math.max(FETCH_BYTES_MAX, connection.payloadBytesMax + NAMES_BYTES_MAX),
  };
  const subject = `$JS.API.CONSUMER.MSG.NEXT.${stream}.${consumer}`;
  return connection.publish({ subject, payload: Buffer.from(JSON.stringify(ask)), headers: [] }, inbox);
}
