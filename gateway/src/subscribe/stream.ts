import type { Admission } from "../admit.ts";
import type { AuditCompletion, AuditLog } from "../audit/record.ts";
import type { Identity } from "../identity/identity.ts";
import type { NotBeforeKey } from "../identity/session.ts";
import type { Connection, InboundMessage, Pool } from "../nats/connection.ts";
import type { Action } from "../policy/action.ts";
import { decide } from "../policy/decide.ts";
import type { Grant } from "../policy/grant.ts";
import { allowed, type Outcome, refused } from "../refusal.ts";
import { type Clock, type EpochSeconds, isoTimeOf } from "../time.ts";
import { CoreSource } from "./core-source.ts";
import type { Arrival, EndCode, StreamEvent, StreamSink, SubscribeAdmission } from "./event.ts";
import type { Place, Source, SourceHandler } from "./source.ts";
import { type StoredReading, StoredSource } from "./stored-source.ts";

/** Messages of one stream that wait for their seal to be verified, and their payloads. Beyond, it is too slow. */
const UNVERIFIED_MAX = 4_096;
const UNVERIFIED_BYTES_MAX = 16_777_216;

/** setTimeout fires at once beyond 2^31−1 ms; a longer-lived stream is ended then and reopens. */
const TIMER_MS_MAX = 2_147_483_647;

export interface StreamParts {
  readonly pool: Pool;
  readonly arrivalOf: (message: InboundMessage) => Arrival;
  readonly audit: AuditLog;
  readonly clock: Clock;
  readonly instance: string;
}

/** What one reader asked for, and where it goes. */
export interface StreamAsk {
  /** One per subject, of one identity. */
  readonly admissions: readonly SubscribeAdmission[];
  /** Absent: messages as they are published. */
  readonly reading?: StoredReading;
  readonly sink: StreamSink;
}

/** One reader's stream, from its source to its last event. */
export class Stream {
  readonly #parts: StreamParts;
  readonly #identity: Identity;
  #grant: Grant;
  readonly #ask: StreamAsk;
  readonly #sink: StreamSink;
  readonly #closed: () => void;
  readonly #letGo: () => void;
  #timer: NodeJS.Timeout | undefined;
  #source: Source | undefined;
  #ended = false;
  #delivered = 0;
  #unverified = 0;
  #unverifiedBytes = 0;
  #order: Promise<void> = Promise.resolve();

  constructor(parts: StreamParts, { identity, grant }: Admission, ask: StreamAsk, closed: () => void) {
    this.#parts = parts;
    this.#identity = identity;
    this.#grant = grant;
    this.#ask = ask;
    this.#sink = ask.sink;
    this.#closed = closed;
    this.#letGo = parts.pool.hold(identity, grant);
    this.#endInTime();
  }

  #endInTime(): void {
    clearTimeout(this.#timer);
    const endsAt = Math.min(this.#identity.expiresAt, this.#grant.until ?? Number.POSITIVE_INFINITY);
    const leftMs = Math.max(0, endsAt - this.#parts.clock()) * 1000;
    this.#timer = setTimeout(() => this.end("expired"), Math.min(leftMs, TIMER_MS_MAX));
    this.#timer.unref();
  }

  regrant(grantOf: (identity: Identity) => Grant | undefined): void {
    const grant = grantOf(this.#identity);
    const { admissions, reading } = this.#ask;
    if (!grant || !admissions.every((admission) => decide(grant, actionOf(admission, reading)).ok)) {
      this.end("policy");
      return;
    }
    this.#grant = grant;
    this.#endInTime();
  }

  async start(): Promise<Outcome<void>> {
    const connection = await this.#parts.pool.connectionFor(this.#identity, this.#grant);
    if (!connection.ok) return connection;
    const source = this.#sourceOn(connection.value);
    this.#source = source;
    const started = this.#ended ? NOT_BEGUN : await source.start();
    // What was read from a stream has its own reasons to end while it opens: its reader is told them as an event.
    if (this.#ended) return this.#ask.reading ? allowed(undefined) : NOT_BEGUN;
    return started;
  }

  #sourceOn(connection: Connection): Source {
    const { admissions, reading } = this.#ask;
    const handler: SourceHandler = {
      take: (message, place) => this.#take(message, place),
      reached: (positions) => this.#inOrder(() => this.#sink.reached(positions)),
      end: (code) => this.end(code),
    };
    return reading
      ? new StoredSource(connection, admissions, { reading, grant: () => this.#grant, handler })
      : new CoreSource(connection, admissions, handler);
  }

  #take(message: InboundMessage, place: Place | undefined): void {
    if (this.#ended) return;
    // What is stored is asked for by the piece: there is never more of it than its source holds.
    if (!place && !this.#hasRoomFor(message)) {
      this.end("slow_reader");
      return;
    }
    const arrival = this.#parts.arrivalOf(message);
    this.#inOrder(async () => {
      const sender = await arrival.sender;
      if (!place) this.#unverifiedLess(message);
      await this.#deliver({ arrival, sender, ...(place && { positions: place.positions }) }, place);
    });
  }

  #hasRoomFor({ payload }: InboundMessage): boolean {
    this.#unverified += 1;
    this.#unverifiedBytes += payload.length;
    return this.#unverified <= UNVERIFIED_MAX && this.#unverifiedBytes <= UNVERIFIED_BYTES_MAX;
  }

  #unverifiedLess({ payload }: InboundMessage): void {
    this.#unverified -= 1;
    this.#unverifiedBytes -= payload.length;
  }

  /** Verification may have to wait for a key, and a reader be waited for; the chain keeps the order all the same. */
  #inOrder(step: () => void | Promise<void>): void {
    this.#order = this.#order.then(() => (this.#ended ? undefined : step()));
  }

  async #deliver(event: StreamEvent, place: Place | undefined): Promise<void> {
    if (this.#ended) return;
    this.#delivered += 1;
    const isSlow = !this.#sink.deliver(event);
    if (isSlow && !(place && (await this.#sink.drained()))) this.end("slow_reader");
    place?.taken();
  }

  isMeant(key: NotBeforeKey, at: EpochSeconds): boolean {
    const { user, proof, provedAt } = this.#identity;
    return (key.user !== undefined ? key.user === user : key.session === proof.hash) && provedAt <= at;
  }

  end(code: EndCode): void {
    if (!this.letGo()) return;
    this.#sink.end(code);
    complete(this.#parts, this.#ask.admissions, { outcome: "ended", why: code, messages: this.#delivered });
  }

  /** Lets go of everything, without a word to the sink. @returns false when it had ended before */
  letGo(): boolean {
    if (this.#ended) return false;
    this.#ended = true;
    clearTimeout(this.#timer);
    this.#source?.end();
    this.#letGo();
    this.#closed();
    return true;
  }
}

const NOT_BEGUN = refused({ reason: "nats_unavailable", why: "the stream ended while it was opening" });

function actionOf(
  { admission, subject, queue }: SubscribeAdmission,
  reading: StoredReading | undefined,
): Action {
  if (admission.action) return admission.action;
  if (reading) return { verb: "read-stream", stream: reading.stream, subject };
  return { verb: "subscribe", subject, ...(queue !== undefined && { queue }) };
}

export function complete(
  { audit, clock, instance }: StreamParts,
  admissions: readonly SubscribeAdmission[],
  how: Pick<AuditCompletion, "outcome" | "why" | "messages">,
): void {
  const txns = [...new Set(admissions.map(({ admission }) => admission.facts.txn))];
  audit.complete({ kind: "completion", at: isoTimeOf(clock()), instance, txns, ...how });
}
