import { setBounded } from "../../bounded-map.ts";
import { consumerName } from "../../policy/consumer.ts";
import type { Clock, EpochSeconds } from "../../time.ts";

/** A numbered consumer that a client knows by another name. */
export interface HeldConsumer {
  readonly stream: string;
  /** What its client calls it; its own name where the client gave none. */
  readonly clientName: string;
  /** What NATS calls it: `<user>-<number>`. */
  readonly name: string;
  /** Where its client takes what it delivers; undefined until that is known. */
  listener: Listener | undefined;
}

export interface Listener {
  /** Whether the client listens there now. Asked when numbers run short. */
  readonly isThere: () => boolean;
  /** Whether it ever has: then it is not waited for once it no longer does. */
  wasThere: boolean;
}

interface Held extends HeldConsumer {
  readonly number: number;
  readonly heldAt: EpochSeconds;
}

/** How long a client that created a consumer is given to listen. */
const FRESH_SECONDS = 10;

/**
 * Which numbered consumers of one identity are whose, by the names its clients gave them. Stock clients make up a
 * name for every ordered consumer and every watcher; NATS permits the identity a few written-out ones.
 *
 * All connections of one identity on this instance share it, so that a client that reconnects finds its consumers
 * and two clients do not take the same. What other instances and streams hold, JetStream itself says: creating a
 * consumer that exists with other settings fails, and the next number is tried.
 *
 * A number that is given back goes to the end of the line: in a cluster a deletion takes a moment to arrive.
 */
export class ConsumerNames {
  readonly #user: string;
  readonly #count: number;
  readonly #clock: Clock;
  readonly #streams = new Map<string, { readonly free: number[]; readonly held: Map<string, Held> }>();

  /** @param count  how many numbers the Grant writes out: `limits.connections` */
  constructor({
    user,
    count,
    clock,
  }: {
    readonly user: string;
    readonly count: number;
    readonly clock: Clock;
  }) {
    this.#user = user;
    this.#count = count;
    this.#clock = clock;
  }

  find(stream: string, clientName: string): HeldConsumer | undefined {
    return this.#streams.get(stream)?.held.get(clientName);
  }

  /** How many numbers are free, as far as this instance knows. */
  freeCount(stream: string): number {
    return this.#of(stream).free.length;
  }

  /** @returns undefined when no number is free. A consumer of the same client name is given up. */
  take(stream: string, clientName: string | undefined, listener?: Listener): HeldConsumer | undefined {
    const { free } = this.#of(stream);
    if (clientName !== undefined) this.release(stream, clientName);
    const number = free.shift();
    return number === undefined ? undefined : this.#hold(stream, number, clientName, listener);
  }

  /** Takes the one that has been idle longest from its client. @returns undefined when all are in use */
  takeOver(stream: string, clientName: string | undefined, listener?: Listener): HeldConsumer | undefined {
    const { held } = this.#of(stream);
    const idle = [...held.values()].find((one) => this.#isIdle(one));
    if (!idle) return undefined;
    held.delete(idle.clientName);
    return this.#hold(stream, idle.number, clientName, listener);
  }

  /** It is deleted, or was never made. */
  release(stream: string, clientName: string): void {
    const { free, held } = this.#of(stream);
    const one = held.get(clientName);
    if (!one) return;
    held.delete(clientName);
    free.push(one.number);
  }

  #isIdle({ listener, heldAt }: Held): boolean {
    const isAwaited = !listener?.wasThere && this.#clock() - heldAt <= FRESH_SECONDS;
    return !isAwaited && !listener?.isThere();
  }

  #hold(stream: string, number: number, clientName: string | undefined, listener?: Listener): HeldConsumer {
    const name = consumerName(this.#user, number);
    const held = { stream, clientName: clientName ?? name, name, listener, number, heldAt: this.#clock() };
    this.#of(stream).held.set(held.clientName, held);
    return held;
  }

  #of(stream: string): { readonly free: number[]; readonly held: Map<string, Held> } {
    const known = this.#streams.get(stream);
    if (known) return known;
    // From the top: what else numbers consumers begins at the bottom.
    const free = Array.from({ length: this.#count }, (_, index) => this.#count - 1 - index);
    const created = { free, held: new Map<string, Held>() };
    this.#streams.set(stream, created);
    return created;
  }
}

/** Identities whose names are remembered: as many as connections are pooled at most, and more. */
const IDENTITIES_MAX = 10_000;

/** @returns the names of an identity under one Grant, told apart by its inbox */
export function createConsumerNames(
  clock: Clock,
): (inboxPrefix: string, of: { readonly user: string; readonly count: number }) => ConsumerNames {
  const known = new Map<string, ConsumerNames>();
  return (inboxPrefix, { user, count }) => {
    const names = known.get(inboxPrefix) ?? new ConsumerNames({ user, count, clock });
    setBounded(known, inboxPrefix, names, IDENTITIES_MAX);
    return names;
  };
}
