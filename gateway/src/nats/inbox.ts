import { randomBytes } from "node:crypto";
import type { NatsConnection, Subscription as NatsSubscription } from "@nats-io/transport-node";
import { type Outcome, type Refusal, refused } from "../refusal.ts";
import type { InboundMessage } from "./connection.ts";
import { receivedOf } from "./received.ts";

export interface Question<T> {
  /** What it is sent to, for a refusal. */
  readonly subject: string;
  readonly timeoutMs: number;
  /** Sends it, with this reply subject. */
  readonly send: (reply: string) => Outcome<void>;
  /** Reads an answer. @returns undefined for one that is not meant: another is waited for */
  readonly read: (message: InboundMessage) => Outcome<T> | undefined;
}

/** Where answers to one link arrive: one subscription for all of them, a reply subject for each. */
export class Inbox {
  readonly #connection: NatsConnection;
  readonly #prefix: string;
  readonly #waitingMax: number;
  readonly #waiting = new Map<string, Waiting>();
  #subscription: NatsSubscription | undefined;
  #whenEmpty: (() => void) | undefined;

  /** @param prefix  reply subjects hang below it; nats-server lets this user subscribe there */
  constructor(connection: NatsConnection, prefix: string, waitingMax: number) {
    this.#connection = connection;
    this.#prefix = `${prefix}.${randomBytes(9).toString("base64url")}.`;
    this.#waitingMax = waitingMax;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /** @returns the answer, or why there is none: `no_responders`, `timeout`, `capacity_exceeded`, what `fail` was told */
  ask<T>({ subject, timeoutMs, send, read }: Question<T>): Promise<Outcome<T>> {
    if (this.#waiting.size >= this.#waitingMax) {
      const what = "answers waited for";
      return Promise.resolve(refused({ reason: "capacity_exceeded", what, max: this.#waitingMax }));
    }
    this.#subscription ??= this.#subscribe();
    const token = randomBytes(12).toString("base64url");
    const { promise, resolve } = Promise.withResolvers<Outcome<T>>();
    const settle = (outcome: Outcome<T>): void => {
      clearTimeout(timer);
      this.#waiting.delete(token);
      if (this.#waiting.size === 0) this.#whenEmpty?.();
      resolve(outcome);
    };
    const timer = setTimeout(() => settle(refused({ reason: "timeout", timeoutMs })), timeoutMs);
    this.#waiting.set(token, {
      subject,
      refuse: (refusal) => settle(refused(refusal)),
      take(message) {
        const outcome = read(message);
        if (outcome) settle(outcome);
      },
    });
    const sent = send(this.#prefix + token);
    if (!sent.ok) settle(sent);
    return promise;
  }

  /** Answers all that wait, or those for one subject. */
  fail(refusal: Refusal, subject?: string): void {
    for (const waiting of this.#waiting.values())
      if (subject === undefined || waiting.subject === subject) waiting.refuse(refusal);
  }

  /** Fulfils once nobody waits. */
  async empty(): Promise<void> {
    if (this.#waiting.size === 0) return;
    await new Promise<void>((resolve) => {
      this.#whenEmpty = resolve;
    });
  }

  /** nats-core's own multiplexer reads headers in a way a hostile answer can throw in: it ends the read loop. */
  #subscribe(): NatsSubscription {
    return this.#connection.subscribe(`${this.#prefix}*`, {
      callback: (error, raw) => {
        if (error) {
          this.#subscription = undefined;
          this.fail({ reason: "nats_unavailable", why: "nats-server refused the inbox" });
          return;
        }
        const { status, message } = receivedOf(raw);
        const waiting = this.#waiting.get(message.subject.slice(this.#prefix.length));
        if (status === 503 && message.payload.length === 0)
          waiting?.refuse({ reason: "no_responders", subject: waiting.subject });
        else waiting?.take(message);
      },
    });
  }
}

interface Waiting {
  readonly subject: string;
  readonly refuse: (refusal: Refusal) => void;
  readonly take: (message: InboundMessage) => void;
}
