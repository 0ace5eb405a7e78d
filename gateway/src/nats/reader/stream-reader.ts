import { randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { allowed, type Outcome, type Refusal, refused } from "../../refusal.ts";
import type { Subscription } from "../connection.ts";
import { PullSession, type StoredMessage } from "./pull-session.ts";
import {
  createReaderConsumer,
  deleteReaderConsumer,
  type ReaderConsumer,
  type ReaderOptions,
  type ReadFrom,
} from "./reader-consumer.ts";

export type { StoredMessage } from "./pull-session.ts";
export type { ReaderOptions, ReadFrom } from "./reader-consumer.ts";

/** Why reading ended by itself. */
export type ReadEnd =
  /** The identity's connection was ended with its proof. */
  | "revoked"
  /** The stream cannot be read, and that for long. */
  | "unavailable"
  /** What comes next is no longer in the stream: purged, or older or more than its limits. */
  | "messages_gone"
  /** The stream ends before what has been read: it is another one of the same name. */
  | "stream_reset";

/** Where a reader began. */
export interface Beginning {
  /** The sequence before the first message that may come. */
  readonly position: number;
  /** Messages that waited. */
  readonly pending: number;
}

/** What a reader brings. */
export interface StreamHandler {
  /** In the stream's order, none left out, none twice. It counts as unread until `taken` is called for it. */
  onMessage(message: StoredMessage): void;
  /** Nothing waits: all up to this sequence has been brought, or passes the filter by. Said again every two seconds. */
  onIdle(position: number): void;
  /** Called once, unless `end` was. */
  onEnd(why: ReadEnd): void;
}

/** As long as a reader waits at its beginning: for an election, or a number that a killed instance left taken. */
const OPEN_WITHIN_MS = 10_000;
/** As long as it looks for its stream again before it says so. */
const RESUME_WITHIN_MS = 20_000;
/** A replica that is behind has not got there yet; then it is another stream. */
const BEHIND_WITHIN_MS = 5_000;
const WAIT_MIN_MS = 100;
const WAIT_MAX_MS = 1_000;
/** Messages asked for and not taken. More would only lie here rather than there. */
const BATCH_MAX = 256;

/** Waiting may mend these; anything else is an answer. */
const PASSING: ReadonlySet<Refusal["reason"]> = new Set(["nats_unavailable", "connections_exceeded"]);

/**
 * Reads one filter of one stream, from anywhere in it, for as long as it is wanted: through lost connections, servers
 * that leave, changed grants. It remembers where it is and takes a new consumer whenever the old one fails.
 *
 * It pulls, and never more than its reader has taken: `taken` is to be called for each message, once it is out of
 * this process's memory.
 */
export class StreamReader {
  readonly #options: ReaderOptions;
  readonly #handler: StreamHandler;
  readonly #batch: number;
  readonly #stop = new AbortController();
  #position = 0;
  /** What was brought and not taken, by whichever consumer. */
  readonly #unread = { messages: 0, bytes: 0 };
  #running: Running | undefined;

  /** @param batch  messages it may hold, 1–256. Default 256 */
  constructor(options: ReaderOptions, handler: StreamHandler, batch: number = BATCH_MAX) {
    this.#options = options;
    this.#handler = handler;
    this.#batch = Math.max(1, Math.min(BATCH_MAX, batch));
  }

  get over(): boolean {
    return this.#stop.signal.aborted;
  }

  /**
   * @returns where it has begun; messages may have come since. `stream_unknown`, `connections_exceeded`,
   *   `nats_unavailable`, `request_invalid`
   */
  async open(from: ReadFrom): Promise<Outcome<Beginning>> {
    if (from.from === "after") this.#position = from.sequence;
    else if (from.from === "sequence") this.#position = Math.max(0, from.sequence - 1);
    return this.#patiently(OPEN_WITHIN_MS, () => this.#begin(from));
  }

  /** It has left this process's memory. */
  taken(message: StoredMessage): void {
    this.#unread.messages -= 1;
    this.#unread.bytes -= message.payload.length;
    this.#running?.session.refill();
  }

  end(): void {
    this.#finish(undefined);
  }

  #finish(why: ReadEnd | undefined): void {
    if (this.over) return;
    this.#stop.abort();
    this.#leave(this.#running?.session.isOurs ?? false);
    if (why !== undefined) this.#handler.onEnd(why);
  }

  /** Tries again while waiting may help. */
  async #patiently<T>(withinMs: number, run: () => Promise<Outcome<T>>): Promise<Outcome<T>> {
    const late = AbortSignal.timeout(withinMs);
    for (let waitMs = WAIT_MIN_MS; ; waitMs = Math.min(WAIT_MAX_MS, waitMs * 2)) {
      const outcome = await run();
      if (outcome.ok || this.over || late.aborted || !PASSING.has(outcome.refusal.reason)) return outcome;
      await delay(waitMs, undefined, { signal: this.#stop.signal, ref: false }).catch(() => undefined);
    }
  }

  async #begin(from: ReadFrom): Promise<Outcome<Beginning>> {
    if (from.from === "after" && from.sequence > 0) {
      const reached = await this.#reach(from.sequence);
      if (!reached.ok && reached.refusal === BEHIND) this.#finish("stream_reset");
      if (!reached.ok) return reached;
    }
    // One of its own for each consumer, so that nothing of an earlier one is taken for this one's.
    const inbox = `${this.#options.connection.inboxPrefix}.${randomBytes(12).toString("base64url")}`;
    const subscription = await this.#subscribe(inbox);
    if (!subscription.ok) return subscription;
    const consumer = this.over ? ENDED : await createReaderConsumer(this.#options, from);
    if (!consumer.ok) {
      subscription.value.end();
      return consumer;
    }
    return this.#run(from, inbox, subscription.value, consumer.value);
  }

  #subscribe(inbox: string): Promise<Outcome<Subscription>> {
    const isCurrent = (): boolean => this.#running?.inbox === inbox;
    return this.#options.connection.subscribe({
      subject: inbox,
      onMessage: (message) => {
        if (isCurrent()) this.#running?.session.take(message);
      },
      onGap: () => {
        if (isCurrent()) this.#resume(true);
      },
      onEnd: (why) => {
        if (!isCurrent()) return;
        // Refused under another grant, whose inbox is another one.
        if (why === "refused") this.#resume(true);
        else this.#finish(why === "revoked" ? "revoked" : "unavailable");
      },
    });
  }

  #run(
    from: ReadFrom,
    inbox: string,
    subscription: Subscription,
    consumer: ReaderConsumer,
  ): Outcome<Beginning> {
    const resumes = from.from === "after";
    const isGone = resumes && consumer.position > from.sequence;
    if (this.over || isGone) {
      subscription.end();
      void deleteReaderConsumer(this.#options, consumer);
      this.#finish("messages_gone");
      return ENDED;
    }
    this.#position = Math.max(this.#position, consumer.position);
    const start = { consumer, inbox, position: this.#position, batch: this.#batch, unread: this.#unread };
    const session = new PullSession(this.#options, start, {
      onMessage: (message) => {
        this.#position = message.sequence;
        this.#unread.messages += 1;
        this.#unread.bytes += message.payload.length;
        this.#handler.onMessage(message);
      },
      onIdle: (position) => {
        this.#position = position;
        this.#handler.onIdle(position);
      },
      onBroken: (isOurs) => this.#resume(isOurs),
    });
    this.#running = { session, inbox, subscription, consumer };
    const beginning = { position: this.#position, pending: consumer.pending };
    session.refill();
    return allowed(beginning);
  }

  /** Waits until the stream has come as far as this. One that has been made anew counts from 1: then, `BEHIND`. */
  #reach(sequence: number): Promise<Outcome<void>> {
    return this.#patiently(BEHIND_WITHIN_MS, async () => {
      const probe = await createReaderConsumer(this.#options, { from: "new" });
      if (!probe.ok) return probe;
      const { position } = probe.value;
      await deleteReaderConsumer(this.#options, probe.value);
      return position >= sequence ? allowed(undefined) : refused(BEHIND);
    });
  }

  /** @param mayDelete  whether the old consumer is surely this reader's */
  #resume(mayDelete: boolean): void {
    if (this.over || !this.#leave(mayDelete)) return;
    const begin = async (): Promise<Outcome<Beginning>> => {
      const begun = await this.#begin({ from: "after", sequence: this.#position });
      // It was there, and may be again.
      return !begun.ok && begun.refusal.reason === "stream_unknown" ? refused(ABSENT) : begun;
    };
    void this.#patiently(RESUME_WITHIN_MS, begin).then((outcome) => {
      if (!outcome.ok) this.#finish("unavailable");
    });
  }

  /** @returns false when there is nothing to leave */
  #leave(mayDelete: boolean): boolean {
    const running = this.#running;
    if (!running) return false;
    this.#running = undefined;
    running.session.end();
    running.subscription.end();
    if (mayDelete) void deleteReaderConsumer(this.#options, running.consumer);
    return true;
  }
}

interface Running {
  readonly session: PullSession;
  readonly inbox: string;
  readonly subscription: Subscription;
  readonly consumer: ReaderConsumer;
}

const BEHIND: Refusal = { reason: "nats_unavailable", why: "the stream ends before" };
const ABSENT: Refusal = { reason: "nats_unavailable", why: "the stream is not there" };
const ENDED = refused({ reason: "nats_unavailable", why: "the reader was ended" });
