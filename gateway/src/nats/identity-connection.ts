import { allowed, type Outcome, refused } from "../refusal.ts";
import type { Clock, EpochSeconds } from "../time.ts";
import { CarriedSubscription } from "./carried-subscription.ts";
import type {
  Confirmation,
  Connection,
  InboundMessage,
  OutboundMessage,
  SubscribeOptions,
  Subscription,
} from "./connection.ts";
import { faultOfSubscription } from "./headers.ts";
import type { Link } from "./link.ts";
import { OTHER_SERVER_SETTLE_MS, pause, renewInMs } from "./renew-when.ts";
import type { StreamAnswer } from "./stream-answer.ts";

/** Which server to meet again, or to avoid because it is leaving: `host:port`. */
export interface ServerWish {
  readonly first?: string;
  readonly last?: string;
}

export interface ConnectionParts {
  /** Mints a credential and dials under it. A refusal of anything but NATS itself is final. */
  readonly dialLink: (wish: ServerWish) => Promise<Outcome<Link>>;
  /** When a credential minted now would expire. */
  readonly nextExpiry: () => Outcome<EpochSeconds>;
  readonly clock: Clock;
  /** Called once when it has ended for good. */
  readonly onOver: () => void;
  /** A reader's callback threw: a mistake of ours, to be logged. */
  readonly onFault: (error: unknown) => void;
}

/** First wait before dialling anew, and the longest; doubled in between, each with full jitter. */
const REDIAL_WAIT_MIN_MS = 100;
const REDIAL_WAIT_MAX_MS = 5_000;
/** How long a replaced link waits for the last answer to its requests. */
const RETIRE_WITHIN_MS = 30_000;
/** What is kept back while waiting for the old link's PONG, at most: less than a fresh link takes at once. */
const KEPT_BACK_BYTES_MAX = 4 * 1024 * 1024;
/** Why a link that works is replaced: its credential ends, its server leaves, its grant has changed. */
type LinkEvent = "due" | "leaving" | "regranted";

/** One identity's connection: a chain of links, each handed over to the next before its credential ends. */
export class IdentityConnection implements Connection {
  readonly #parts: ConnectionParts;
  readonly #subscriptions = new Set<CarriedSubscription>();
  readonly #stop = new AbortController();
  #link: Link;
  readonly #retiring = new Set<Promise<void>>();
  /** Publishes that wait for the old link's PONG, so that the new one cannot overtake it. */
  #keptBack: (() => void)[] | undefined;
  #keptBackBytes = 0;
  /** The change of links in progress; subscribing waits for it. */
  #change: Promise<unknown> = Promise.resolve();
  #over = false;
  /** Resolved when the grant has changed; until a link under it is there, renewing is due. */
  #nudge = Promise.withResolvers<void>();

  constructor(first: Link, parts: ConnectionParts) {
    this.#link = first;
    this.#parts = parts;
    void this.#maintain();
  }

  get payloadBytesMax(): number {
    return this.#link.payloadBytesMax;
  }

  get inboxPrefix(): string {
    return this.#link.inboxPrefix;
  }

  get connected(): boolean {
    return this.#link.alive;
  }

  get standalone(): boolean {
    return this.#link.standalone;
  }

  get over(): boolean {
    return this.#over;
  }

  /** Whether somebody reads from it or waits for an answer. */
  get busy(): boolean {
    return this.#subscriptions.size > 0 || this.#link.requestsInFlight > 0 || this.#retiring.size > 0;
  }

  publish(message: OutboundMessage, reply?: string): Outcome<void> {
    // Its last link may live on until what was published before has left.
    if (this.#over) return refused({ reason: "nats_unavailable", why: "not connected" });
    if (!this.#keptBack) return this.#link.publish(message, reply);
    // Judged now, since the caller has its answer; the next link has the limits of the same grant.
    const judged = this.#link.judge(message);
    if (!judged.ok) return judged;
    this.#keptBackBytes += judged.value.length + message.payload.length;
    if (this.#keptBackBytes > KEPT_BACK_BYTES_MAX)
      return refused({ reason: "nats_unavailable", why: "backpressure" });
    this.#keptBack.push(() => this.#link.publish(message, reply));
    return allowed(undefined);
  }

  async confirm(subject: string): Promise<Confirmation> {
    if (this.#keptBack) await this.#published();
    return this.#link.confirm(subject);
  }

  async request(message: OutboundMessage, timeoutMs: number): Promise<Outcome<InboundMessage>> {
    if (this.#over) return refused({ reason: "nats_unavailable", why: "not connected" });
    if (this.#keptBack) await this.#published();
    return this.#link.request(message, timeoutMs);
  }

  async store(message: OutboundMessage, timeoutMs: number): Promise<Outcome<StreamAnswer>> {
    if (this.#over) return refused({ reason: "nats_unavailable", why: "not connected" });
    if (this.#keptBack) await this.#published();
    return this.#link.store(message, timeoutMs);
  }

  async subscribe(options: SubscribeOptions): Promise<Outcome<Subscription>> {
    const fault = faultOfSubscription(options.subject, options.queue);
    if (fault !== undefined)
      return refused({ reason: "subject_invalid", subject: options.subject.slice(0, 256), why: fault });
    if (this.connected) await this.#change;
    const link = this.#link;
    if (this.#over || !link.alive) return refused({ reason: "nats_unavailable", why: "not connected" });

    let opening = true;
    const onEnd: SubscribeOptions["onEnd"] = (why) => {
      // Until it runs, its end is this function's answer.
      if (!opening) options.onEnd(why);
    };
    const subscription = new CarriedSubscription(
      { ...options, onEnd },
      () => this.#subscriptions.delete(subscription),
      this.#parts.onFault,
    );
    this.#subscriptions.add(subscription);
    const faultsBefore = link.faults;
    subscription.attach(link);
    const taken = await link.settled();
    opening = false;
    if (taken && !subscription.over && link.faults === faultsBefore) return allowed(subscription);
    const why = taken ? "nats-server refused the subscription" : "the connection was lost";
    subscription.end();
    return refused({ reason: "nats_unavailable", why });
  }

  /** Takes up a changed grant: a link under a credential minted now replaces this one, make before break. */
  renewNow(): void {
    this.#nudge.resolve();
  }

  /** Ends it and everything on it; what was published still leaves. */
  async close(why: "closed" | "revoked"): Promise<void> {
    this.#finish(why);
    await Promise.all([...this.#retiring, this.#link.close()]);
  }

  #published(): Promise<void> {
    return this.#keptBack ? new Promise((resolve) => this.#keptBack?.push(resolve)) : Promise.resolve();
  }

  #finish(why: "closed" | "revoked"): void {
    if (this.#over) return;
    this.#over = true;
    this.#stop.abort();
    for (const subscription of this.#subscriptions) subscription.endBecause(why);
    this.#parts.onOver();
  }

  /** The only place that changes links: one thing at a time. */
  async #maintain(): Promise<void> {
    let failures = 0;
    while (!this.#over) {
      const event = await this.#nextEvent(failures);
      if (this.#over) return;
      const done = event === "lost" ? await this.#replace() : await this.#renew(event);
      failures = done ? 0 : failures + 1;
    }
  }

  async #nextEvent(failures: number): Promise<"lost" | LinkEvent> {
    const waiting = new AbortController();
    const signal = AbortSignal.any([waiting.signal, this.#stop.signal]);
    const link = this.#link;
    try {
      return await Promise.race([
        link.closed.then(() => "lost" as const),
        // A server that leaves is left once; when that fails, its closing comes as "lost".
        ...(failures === 0 ? [link.lameDuck.then(() => "leaving" as const)] : []),
        // A grant that could not be taken up is tried again when renewing is.
        ...(failures === 0 ? [this.#nudge.promise.then(() => "regranted" as const)] : []),
        pause(renewInMs(link.expiresAt - this.#parts.clock(), failures), signal).then(() => "due" as const),
      ]);
    } finally {
      waiting.abort();
    }
  }

  /** Dials anew after a loss, until the last credential would have ended. @returns whether it is connected */
  async #replace(): Promise<boolean> {
    const lost = this.#link;
    for (let wait = REDIAL_WAIT_MIN_MS; !this.#over; wait = Math.min(wait * 2, REDIAL_WAIT_MAX_MS)) {
      await pause(wait * Math.random(), this.#stop.signal);
      if (this.#over) return false;
      const dialled = await this.#parts.dialLink({});
      if (dialled.ok && (await this.#during(this.#adopt(dialled.value)))) return true;
      const final = !dialled.ok && dialled.refusal.reason !== "nats_unavailable";
      if (final || this.#parts.clock() >= lost.expiresAt) this.#finish("closed");
    }
    return false;
  }

  #during(change: Promise<boolean>): Promise<boolean> {
    this.#change = change;
    return change;
  }

  async #adopt(link: Link): Promise<boolean> {
    if (this.#over) {
      await link.close();
      return false;
    }
    for (const subscription of this.#subscriptions) subscription.attach(link);
    this.#link = link;
    return link.settled();
  }

  /** Make before break. @returns false when the old link stays */
  async #renew(why: LinkEvent): Promise<boolean> {
    const old = this.#link;
    const leaving = why === "leaving";
    if (why === "due" && !this.#wouldGain(old)) return true;
    if (why === "regranted") this.#nudge = Promise.withResolvers();
    const dialled = await this.#parts.dialLink(leaving ? { last: old.server } : { first: old.server });
    if (!dialled.ok) return false;
    const next = dialled.value;
    if (this.#over || !old.alive) return this.#during(this.#adopt(next));
    return this.#during(this.#handOver(old, next));
  }

  #wouldGain(old: Link): boolean {
    const expiry = this.#parts.nextExpiry();
    return expiry.ok && expiry.value >= old.expiresAt + 1;
  }

  async #handOver(old: Link, next: Link): Promise<boolean> {
    const settleMs = next.serverId === old.serverId ? 0 : OTHER_SERVER_SETTLE_MS;
    const carried = [...this.#subscriptions];
    for (const subscription of carried) subscription.join(next);
    if (!(await next.settled())) {
      for (const subscription of carried) subscription.unjoin();
      await next.close();
      return false;
    }
    if (settleMs > 0) await pause(settleMs, this.#stop.signal);

    for (const subscription of carried) subscription.leave();
    this.#keptBack = [];
    this.#keptBackBytes = 0;
    await old.ping();
    this.#link = next;
    for (const subscription of carried) subscription.settle();
    const kept = this.#keptBack;
    this.#keptBack = undefined;
    for (const publish of kept) publish();
    this.#retire(old);

    await next.ping();
    if (settleMs > 0) await pause(settleMs, this.#stop.signal);
    for (const subscription of carried) subscription.forget();
    return true;
  }

  #retire(old: Link): void {
    const retired = old.retire(RETIRE_WITHIN_MS).finally(() => this.#retiring.delete(retired));
    this.#retiring.add(retired);
  }
}
