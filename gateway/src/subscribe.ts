import type { Admission } from "./admit.ts";
import type { AuditCompletion, AuditLog } from "./audit/record.ts";
import { holderOf, type Identity } from "./identity/identity.ts";
import type { NotBeforeKey } from "./identity/session.ts";
import type { InboundMessage, Pool, Subscription } from "./nats/connection.ts";
import { decide } from "./policy/decide.ts";
import type { Grant } from "./policy/grant.ts";
import { allowed, type Outcome, type Refusal, refused } from "./refusal.ts";
import { type Clock, type EpochSeconds, isoTimeOf } from "./time.ts";

/** Who sent a message, as its seal proves; `verified: false` carries why not, and no name to be taken for one. */
export type Sender =
  | {
      readonly verified: true;
      readonly user: string;
      readonly issuer: string;
      readonly name?: string;
      readonly actor?: string;
      readonly txn: string;
      readonly id: string;
    }
  | { readonly verified: false; readonly code: string };

export interface StreamEvent {
  readonly message: InboundMessage;
  readonly sender: Sender;
  readonly at: EpochSeconds;
}

/** Why a stream ends: the `code` of its last event. */
export type EndCode = "expired" | "logout" | "policy" | "shutdown" | "unavailable" | "slow_reader" | "closed";

/** Where a stream's events go. */
export interface StreamSink {
  /** @returns false when the reader is too far behind: the stream then ends with `slow_reader` */
  deliver(event: StreamEvent): boolean;
  /** Called exactly once, whatever ends it. */
  end(code: EndCode): void;
}

/** The effect of an admitted `subscribe`: open on that identity's connection, verify, stream out. */
export interface Subscribe {
  /**
   * @param admissions  one per subject, of one identity; not empty
   * @returns a function that ends it, or `connections_exceeded`, `nats_unavailable`, `shutting_down`, …
   */
  open(admissions: readonly SubscribeAdmission[], sink: StreamSink): Promise<Outcome<() => void>>;
  /** Completes the records of subjects that were allowed, when another one of the same stream was not. */
  neverBegan(admissions: readonly SubscribeAdmission[], refusal: Refusal): void;
  /**
   * Another policy is in force: streams with a subject that is no longer granted end with `policy`, all others go
   * on and notice nothing.
   *
   * @param grantOf  undefined for an identity that can have none: all its streams end
   */
  regrant(grantOf: (identity: Identity) => Grant | undefined): void;
  /** Ends the streams whose proof a not-before has just refused. */
  revoke(key: NotBeforeKey, at: EpochSeconds): void;
  readonly size: number;
  close(): void;
}

export interface SubscribeAdmission {
  readonly admission: Admission;
  readonly subject: string;
  readonly queue?: string;
}

/** Messages of one stream that wait for their seal to be verified, and their payloads. Beyond, it is too slow. */
const UNVERIFIED_MAX = 4_096;
const UNVERIFIED_BYTES_MAX = 16_777_216;

/** setTimeout fires at once beyond 2^31−1 ms; a longer-lived stream is ended then and reopens. */
const TIMER_MS_MAX = 2_147_483_647;

export function createSubscribe(parts: StreamParts): Subscribe {
  const open = new Set<Stream>();
  const openOf = new Map<string, number>();
  let closing = false;

  function count(holder: string, by: 1 | -1): void {
    const left = (openOf.get(holder) ?? 0) + by;
    if (left > 0) openOf.set(holder, left);
    else openOf.delete(holder);
  }

  return {
    async open(admissions, sink) {
      const first = admissions[0]?.admission;
      if (!first) return refused({ reason: "request_invalid", what: "subject", why: "none is given" });
      if (closing) return neverBegan(parts, admissions, { reason: "shutting_down" });
      const holder = holderOf(first.identity);
      const connectionsMax = first.grant.limits.connections;
      if ((openOf.get(holder) ?? 0) >= connectionsMax)
        return neverBegan(parts, admissions, { reason: "connections_exceeded", connectionsMax });

      const stream = new Stream(parts, first, admissions, sink, () => {
        open.delete(stream);
        count(holder, -1);
      });
      // Counted before the first await, or two requests at once would both find room for one.
      open.add(stream);
      count(holder, 1);
      const started = await stream.start();
      if (started.ok) return allowed(() => stream.end("closed"));
      // What has ended meanwhile has completed its record itself.
      return stream.letGo() ? neverBegan(parts, admissions, started.refusal) : started;
    },
    neverBegan(admissions, refusal) {
      if (admissions.length > 0) neverBegan(parts, admissions, refusal);
    },
    regrant(grantOf) {
      for (const stream of open) stream.regrant(grantOf);
    },
    revoke(key, at) {
      for (const stream of open) if (stream.isMeant(key, at)) stream.end("logout");
    },
    get size() {
      return open.size;
    },
    close() {
      closing = true;
      for (const stream of open) stream.end("shutdown");
    },
  };
}

export interface StreamParts {
  readonly pool: Pool;
  /** Verifies the seal; never rejects. */
  readonly senderOf: (message: InboundMessage) => Promise<Sender>;
  readonly audit: AuditLog;
  readonly clock: Clock;
  readonly instance: string;
}

/** The record said that it was allowed: it has to say too that nothing came of it. */
function neverBegan(
  parts: StreamParts,
  admissions: readonly SubscribeAdmission[],
  refusal: Refusal,
): ReturnType<typeof refused> {
  complete(parts, admissions, { outcome: "failed", why: refusal.reason });
  return refused(refusal);
}

function complete(
  { audit, clock, instance }: StreamParts,
  admissions: readonly SubscribeAdmission[],
  how: Pick<AuditCompletion, "outcome" | "why" | "messages">,
): void {
  const txns = [...new Set(admissions.map(({ admission }) => admission.facts.txn))];
  audit.complete({ kind: "completion", at: isoTimeOf(clock()), instance, txns, ...how });
}

/** One reader's stream, from its subscriptions to its last event. */
class Stream {
  readonly #parts: StreamParts;
  readonly #identity: Identity;
  #grant: Grant;
  readonly #admissions: readonly SubscribeAdmission[];
  readonly #sink: StreamSink;
  readonly #closed: () => void;
  readonly #letGo: () => void;
  #timer: NodeJS.Timeout | undefined;
  readonly #subscriptions: Subscription[] = [];
  #ended = false;
  #delivered = 0;
  #unverified = 0;
  #unverifiedBytes = 0;
  #order: Promise<void> = Promise.resolve();

  constructor(
    parts: StreamParts,
    { identity, grant }: Admission,
    admissions: readonly SubscribeAdmission[],
    sink: StreamSink,
    closed: () => void,
  ) {
    this.#parts = parts;
    this.#identity = identity;
    this.#grant = grant;
    this.#admissions = admissions;
    this.#sink = sink;
    this.#closed = closed;
    this.#letGo = parts.pool.hold(identity, grant);
    this.#endInTime();
  }

  #endInTime(): void {
    clearTimeout(this.#timer);
    const endsAt = Math.min(this.#identity.expiresAt, this.#grant.until ?? Number.POSITIVE_INFINITY);
    const endsInMs = Math.max(0, (endsAt - this.#parts.clock()) * 1000);
    this.#timer = setTimeout(() => this.end("expired"), Math.min(endsInMs, TIMER_MS_MAX)).unref();
  }

  regrant(grantOf: (identity: Identity) => Grant | undefined): void {
    const grant = grantOf(this.#identity);
    if (!grant || !this.#admissions.every((admission) => isGranted(admission, grant))) {
      this.end("policy");
      return;
    }
    this.#grant = grant;
    this.#endInTime();
  }

  async start(): Promise<Outcome<void>> {
    const connection = await this.#parts.pool.connectionFor(this.#identity, this.#grant);
    if (!connection.ok) return connection;
    for (const { subject, queue } of this.#admissions) {
      const subscription = await connection.value.subscribe({
        subject,
        ...(queue !== undefined && { queue }),
        onMessage: (message) => this.#take(message),
        // Ended rather than continued with a gap that nobody sees: the reader opens anew, and knows to catch up.
        onGap: () => this.end("unavailable"),
        onEnd: (why) => this.end(why === "revoked" ? "logout" : "unavailable"),
      });
      if (!subscription.ok) return subscription;
      this.#subscriptions.push(subscription.value);
      // Ended while nats-server was answering: `letGo` has not seen this subscription.
      if (this.#ended) subscription.value.end();
    }
    if (this.#ended)
      return refused({ reason: "nats_unavailable", why: "the stream ended while it was opening" });
    return allowed(undefined);
  }

  /** Verification may have to wait for a key; the chain keeps the messages in order all the same. */
  #take(message: InboundMessage): void {
    if (this.#ended) return;
    this.#unverified += 1;
    this.#unverifiedBytes += message.payload.length;
    if (this.#unverified > UNVERIFIED_MAX || this.#unverifiedBytes > UNVERIFIED_BYTES_MAX) {
      this.end("slow_reader");
      return;
    }
    const at = this.#parts.clock();
    const sender = this.#parts.senderOf(message);
    this.#order = this.#order.then(async () => this.#deliver({ message, sender: await sender, at }));
  }

  #deliver(event: StreamEvent): void {
    this.#unverified -= 1;
    this.#unverifiedBytes -= event.message.payload.length;
    if (this.#ended) return;
    this.#delivered += 1;
    if (!this.#sink.deliver(event)) this.end("slow_reader");
  }

  isMeant(key: NotBeforeKey, at: EpochSeconds): boolean {
    const { user, proof, provedAt } = this.#identity;
    return (key.user !== undefined ? key.user === user : key.session === proof.hash) && provedAt <= at;
  }

  end(code: EndCode): void {
    if (!this.letGo()) return;
    this.#sink.end(code);
    complete(this.#parts, this.#admissions, { outcome: "ended", why: code, messages: this.#delivered });
  }

  /** Lets go of everything, without a word to the sink. @returns false when it had ended before */
  letGo(): boolean {
    if (this.#ended) return false;
    this.#ended = true;
    clearTimeout(this.#timer);
    for (const subscription of this.#subscriptions) subscription.end();
    this.#letGo();
    this.#closed();
    return true;
  }
}

function isGranted({ subject, queue }: SubscribeAdmission, grant: Grant): boolean {
  return decide(grant, { verb: "subscribe", subject, ...(queue !== undefined && { queue }) }).ok;
}
