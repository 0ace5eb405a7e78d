import type { Connection, Subscription } from "../nats/connection.ts";
import { allowed, type Outcome } from "../refusal.ts";
import type { SubscribeAdmission } from "./event.ts";
import type { Source, SourceHandler } from "./source.ts";

/** Messages as they are published: what is not read then is gone. */
export class CoreSource implements Source {
  readonly #connection: Connection;
  readonly #admissions: readonly SubscribeAdmission[];
  readonly #handler: SourceHandler;
  readonly #subscriptions: Subscription[] = [];
  #ended = false;

  constructor(connection: Connection, admissions: readonly SubscribeAdmission[], handler: SourceHandler) {
    this.#connection = connection;
    this.#admissions = admissions;
    this.#handler = handler;
  }

  async start(): Promise<Outcome<void>> {
    const { take, end } = this.#handler;
    for (const { subject, queue } of this.#admissions) {
      const subscription = await this.#connection.subscribe({
        subject,
        ...(queue !== undefined && { queue }),
        onMessage: (message) => take(message),
        // Ended rather than continued with a gap that nobody sees: the reader opens anew, and knows to catch up.
        onGap: () => end("unavailable"),
        onEnd: (why) => end(why === "revoked" ? "logout" : "unavailable"),
      });
      if (!subscription.ok) return subscription;
      this.#subscriptions.push(subscription.value);
      // Ended while nats-server was answering: `end` has not seen this subscription.
      if (this.#ended) subscription.value.end();
    }
    return allowed(undefined);
  }

  end(): void {
    this.#ended = true;
    for (const subscription of this.#subscriptions) subscription.end();
  }
}
