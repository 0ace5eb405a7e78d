import { type MsgHdrs, type NatsConnection, errors as natsErrors } from "@nats-io/transport-node";
import { messageOf } from "../errors.ts";
import { acknowledgementPrefixOf } from "../policy/permissions.ts";
import { allowed, type Outcome, refused } from "../refusal.ts";
import type { EpochSeconds } from "../time.ts";
import type { Confirmation, InboundMessage, OutboundMessage } from "./connection.ts";
import { encodeHeaders, faultOfPublish } from "./headers.ts";
import { Inbox } from "./inbox.ts";
import { receivedOf } from "./received.ts";
import { deniedOf } from "./server-error.ts";
import { parseStreamAnswer, type StreamAnswer } from "./stream-answer.ts";

/** What has been written and not been confirmed by a PONG, at most; beyond, the server or the way is too slow. */
const UNCONFIRMED_BYTES_MAX = 8 * 1024 * 1024;
/** Asks for a PONG on its own account when nobody else does, so that the count above comes down. */
const UNCONFIRMED_BYTES_ASK = 1024 * 1024;
const REQUESTS_IN_FLIGHT_MAX = 1_000;
/** A message for a stream is answered within milliseconds; while the stream elects a leader, they wait. */
const UNACKNOWLEDGED_MAX = 4_096;
/** Nobody waits for a confirmation but the record, and a PING of its own for each turn would double the writes. */
const CONFIRM_AFTER_MS = 10;
/** Longest wait for a PONG before the connection counts as dead. */
const PONG_TIMEOUT_MS = 5_000;

/** Receives one message of one link's subscription, or learns that nats-server refused it. */
export interface LinkReader {
  readonly take: (message: InboundMessage) => void;
  readonly refused: () => void;
}

/** What a subscription needs of a link. */
export interface SubscribingLink {
  subscribe(subject: string, queue: string | undefined, reader: LinkReader): Leave;
}

/** Leaves a subscription: what nats-server sent before it took notice is still delivered. */
export type Leave = () => void;

/**
 * One connection to one server under one credential: it dies once and is never repaired. All that outlives it
 * (renewal, reconnecting) is its owner's.
 */
export class Link implements SubscribingLink {
  /** When nats-server will end it. */
  readonly expiresAt: EpochSeconds;
  readonly serverId: string;
  /** What it may subscribe to for answers. */
  readonly inboxPrefix: string;
  /** `host:port` as configured. */
  readonly server: string;
  readonly payloadBytesMax: number;
  /** Whether its server belongs to no cluster. */
  readonly standalone: boolean;
  /** Fulfils when it is dead, whatever killed it. */
  readonly closed: Promise<void>;
  /** Fulfils when its server announces that it will leave, or never. */
  readonly lameDuck: Promise<void>;
  readonly #connection: NatsConnection;
  readonly #replies: Inbox;
  readonly #acknowledgements: Inbox;
  readonly #batches = new Set<ConfirmBatch>();
  readonly #pings = new Set<(pong: boolean) => void>();
  #gathering: ConfirmBatch | undefined;
  #alive = true;
  #bytesWritten = 0;
  #bytesConfirmed = 0;
  #faults = 0;

  constructor(connection: NatsConnection, inboxPrefix: string, expiresAt: EpochSeconds) {
    this.#connection = connection;
    this.#replies = new Inbox(connection, inboxPrefix, REQUESTS_IN_FLIGHT_MAX);
    this.#acknowledgements = new Inbox(connection, acknowledgementPrefixOf(inboxPrefix), UNACKNOWLEDGED_MAX);
    this.inboxPrefix = inboxPrefix;
    this.expiresAt = expiresAt;
    this.serverId = connection.info?.server_id ?? "";
    this.server = connection.getServer();
    this.payloadBytesMax = connection.info?.max_payload ?? 0;
    this.standalone = connection.info?.cluster === undefined;
    const lameDuck = Promise.withResolvers<void>();
    this.lameDuck = lameDuck.promise;
    this.closed = this.#watch(lameDuck.resolve);
  }

  get alive(): boolean {
    return this.#alive;
  }

  get requestsInFlight(): number {
    return this.#replies.waiting + this.#acknowledgements.waiting;
  }

  /** Judges without sending. @returns the encoded header block */
  judge(message: OutboundMessage): Outcome<Uint8Array> {
    if (!this.#alive || this.#connection.isClosed()) return unavailable("not connected");
    const fault = faultOfPublish(message.subject);
    if (fault !== undefined)
      return refused({ reason: "subject_invalid", subject: message.subject.slice(0, 256), why: fault });
    const encoded = encodeHeaders(message.headers);
    if (!encoded.ok) return encoded;
    const bytes = encoded.value.length + message.payload.length;
    if (bytes > this.payloadBytesMax)
      return refused({ reason: "payload_too_large", bytes, bytesMax: this.payloadBytesMax });
    return this.#unconfirmedBytes + bytes > UNCONFIRMED_BYTES_MAX ? unavailable("backpressure") : encoded;
  }

  publish(message: OutboundMessage, reply?: string): Outcome<void> {
    const judged = this.judge(message);
    if (!judged.ok) return judged;
    try {
      this.#connection.publish(message.subject, message.payload, {
        headers: asHeaders(judged.value),
        ...(reply !== undefined && { reply }),
      });
    } catch (error) {
      return unavailable(messageOf(error));
    }
    this.#bytesWritten += judged.value.length + message.payload.length;
    if (this.#unconfirmedBytes > UNCONFIRMED_BYTES_ASK && this.#pings.size === 0) void this.ping();
    return SENT;
  }

  get #unconfirmedBytes(): number {
    return this.#bytesWritten - this.#bytesConfirmed;
  }

  /** Waits until nats-server has processed everything written before; false when the connection died first. */
  ping(): Promise<boolean> {
    if (!this.#alive) return Promise.resolve(false);
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const written = this.#bytesWritten;
    const timer = setTimeout(() => void this.#connection.close().catch(ignore), PONG_TIMEOUT_MS);
    timer.unref();
    const settle = (pong: boolean): void => {
      if (!this.#pings.delete(settle)) return;
      clearTimeout(timer);
      if (pong) this.#bytesConfirmed = Math.max(this.#bytesConfirmed, written);
      resolve(pong);
    };
    this.#pings.add(settle);
    this.#connection.flush().then(
      () => settle(true),
      () => settle(false),
    );
    return promise;
  }

  /** As `ping`, and every error that nats-server sent before has been noticed. */
  async settled(): Promise<boolean> {
    const pong = await this.ping();
    // nats-core hands errors over a few microtasks after reading them, a PONG sooner: one turn puts them in order.
    await new Promise((resolve) => setImmediate(resolve));
    return pong;
  }

  /** As `Connection.confirm`: one PING for all that ask within a moment. */
  confirm(subject: string): Promise<Confirmation> {
    if (!this.#alive) return Promise.resolve("unknown");
    if (!this.#gathering) {
      const batch: ConfirmBatch = { refused: new Set(), waiting: [] };
      this.#gathering = batch;
      this.#batches.add(batch);
      setTimeout(() => void this.#settleBatch(batch), CONFIRM_AFTER_MS).unref();
    }
    const { waiting } = this.#gathering;
    return new Promise((resolve) => waiting.push({ subject, resolve }));
  }

  /** Asks once, whether the timer or closing comes first. */
  #settleBatch(batch: ConfirmBatch): Promise<void> {
    batch.settling ??= this.#askFor(batch);
    return batch.settling;
  }

  async #askFor(batch: ConfirmBatch): Promise<void> {
    if (this.#gathering === batch) this.#gathering = undefined;
    const pong = await this.settled();
    this.#batches.delete(batch);
    for (const { subject, resolve } of batch.waiting) {
      if (batch.refused.has(subject)) resolve("refused");
      else resolve(pong ? "received" : "unknown");
    }
  }

  request(message: OutboundMessage, timeoutMs: number): Promise<Outcome<InboundMessage>> {
    return this.#ask(this.#replies, message, timeoutMs, allowed);
  }

  /** As `Connection.store`. */
  store(message: OutboundMessage, timeoutMs: number): Promise<Outcome<StreamAnswer>> {
    return this.#ask(this.#acknowledgements, message, timeoutMs, ({ payload }) => {
      const answer = parseStreamAnswer(payload);
      return answer && allowed(answer);
    });
  }

  #ask<T>(
    inbox: Inbox,
    message: OutboundMessage,
    timeoutMs: number,
    read: (answer: InboundMessage) => Outcome<T> | undefined,
  ): Promise<Outcome<T>> {
    if (!this.#alive || this.#connection.isClosed()) return Promise.resolve(unavailable("not connected"));
    const { subject } = message;
    return inbox.ask({ subject, timeoutMs, send: (reply) => this.publish(message, reply), read });
  }

  /** Subscribes without waiting; `settled()` afterwards tells whether nats-server has taken it. */
  subscribe(subject: string, queue: string | undefined, reader: LinkReader): Leave {
    if (!this.#alive || this.#connection.isClosed()) return ignore;
    const subscription = this.#connection.subscribe(subject, {
      ...(queue !== undefined && { queue }),
      callback: (error, raw) => {
        if (error) {
          reader.refused();
          return;
        }
        const { status, message } = receivedOf(raw);
        reader.take(status === undefined ? message : withStatus(message, status));
      },
    });
    return () => {
      // `unsubscribe` would throw away what is on its way; `drain` keeps delivering until the PONG.
      if (!subscription.isClosed() && this.#alive) subscription.drain().catch(ignore);
    };
  }

  /** Grows by one with every error of nats-server that names no subject (`maximum subscriptions exceeded`). */
  get faults(): number {
    return this.#faults;
  }

  /** Closes once the last request in flight is answered, after `withinMs` at the latest. */
  async retire(withinMs: number): Promise<void> {
    if (this.requestsInFlight > 0 && this.#alive) {
      const { promise: late, resolve } = Promise.withResolvers<void>();
      const timer = setTimeout(resolve, withinMs);
      timer.unref();
      const answered = Promise.all([this.#replies.empty(), this.#acknowledgements.empty()]);
      await Promise.race([answered, late, this.closed]);
      clearTimeout(timer);
    }
    await this.close();
  }

  /** Lets what was published reach the server, and tells who waits for that, then closes. */
  async close(): Promise<void> {
    await Promise.all([...Array.from(this.#batches, (batch) => this.#settleBatch(batch)), this.ping()]);
    await this.#connection.close().catch(ignore);
  }

  async #watch(lameDuck: () => void): Promise<void> {
    const ended = this.#connection.closed();
    for await (const status of this.#connection.status()) {
      if (status.type === "error") this.#takeError(status.error);
      else if (status.type === "ldm") lameDuck();
      else if (status.type === "disconnect") this.#die();
    }
    await ended;
    this.#die();
  }

  /**
   * Permissions do not change while a connection lives, so an error for a subject answers every waiting
   * confirmation of that subject, whichever of its messages provoked it.
   */
  #takeError(error: Error): void {
    if (!(error instanceof natsErrors.PermissionViolationError)) {
      this.#faults += 1;
      return;
    }
    const denied = deniedOf(error.message);
    if (denied?.operation !== "publish") return;
    for (const batch of this.#batches) batch.refused.add(denied.subject);
    for (const inbox of [this.#replies, this.#acknowledgements])
      inbox.fail(
        { reason: "nats_unavailable", why: "nats-server refused what the grant allows" },
        denied.subject,
      );
  }

  #die(): void {
    if (!this.#alive) return;
    this.#alive = false;
    for (const settle of this.#pings) settle(false);
    for (const inbox of [this.#replies, this.#acknowledgements]) inbox.fail({ reason: "connection_lost" });
  }
}

const SENT = allowed<void>(undefined);

interface ConfirmBatch {
  /** Fulfils when all who wait are answered; absent until its PING is on its way. */
  settling?: Promise<void>;
  readonly refused: Set<string>;
  readonly waiting: { readonly subject: string; readonly resolve: (confirmation: Confirmation) => void }[];
}

function unavailable(why: string): {
  readonly ok: false;
  readonly refusal: { reason: "nats_unavailable"; why: string };
} {
  return { ok: false, refusal: { reason: "nats_unavailable", why } };
}

/** nats-core asks the headers of a message only for their encoding. */
function asHeaders(block: Uint8Array): MsgHdrs {
  return { encode: () => block } as unknown as MsgHdrs;
}

function withStatus({ subject, payload, headers, reply }: InboundMessage, status: number): InboundMessage {
  return { subject, payload, headers, status, ...(reply !== undefined && { reply }) };
}

function ignore(): void {}
