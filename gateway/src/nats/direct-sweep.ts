import { messageOf } from "../errors.ts";
import type { Clock } from "../time.ts";
import { type DirectName, parseDirectName } from "./direct-name.ts";
import type { System } from "./system.ts";
import type { ListedConnection } from "./system-json.ts";

/** A direct connection as nats-server lists it, with whose it is. */
export interface ListedDirect extends ListedConnection {
  readonly of: DirectName;
}

export interface SweepParts {
  readonly system: System;
  /** Accounts that direct clients are in; none: nothing is looked through. */
  readonly accounts: readonly string[];
  /** Whether it may be there no longer. Rejects when that cannot be known: then it stays until the next sweep. */
  readonly isOver: (connection: ListedDirect) => Promise<boolean>;
  readonly clock: Clock;
  readonly onSwept: () => void;
  /** A sweep could not be made, or not everywhere. */
  readonly onTrouble: (why: string) => void;
}

/**
 * Looks through the direct connections of the whole cluster and cuts those that are over. nats-server's list is the
 * authority for what no instance's memory holds: judged by an instance that has ended since, or before it was
 * started again.
 */
export interface DirectSweep {
  /** Has a sweep made now, or as soon as it may be, and one more when all that was on its way has arrived. */
  soon(): void;
  /** Never rejects. */
  run(): Promise<void>;
  stop(): void;
}

/**
 * Sign-outs that come one after another share a sweep. Looking takes no more than about a tenth of the time: it is a
 * list of 600 bytes a connection, a few milliseconds for hundreds of them and some hundred for tens of thousands.
 */
const PAUSE_PER_SWEEP = 10;
const PAUSE_SECONDS_MIN = 0.1;
const PAUSE_SECONDS_MAX = 2;
/** A callout is answered within 10 s (`authorization.timeout`): what an instance that is gone had said is true by then. */
const ARRIVED_AFTER_MS = 12_000;

export function createDirectSweep(parts: SweepParts): DirectSweep {
  let nextAt = Number.NEGATIVE_INFINITY;
  let next: NodeJS.Timeout | undefined;
  let last: NodeJS.Timeout | undefined;
  let sweeping = Promise.resolve();

  async function sweepOnce(): Promise<void> {
    const began = parts.clock();
    await sweep(parts);
    const pause = PAUSE_PER_SWEEP * (parts.clock() - began);
    nextAt = began + Math.min(PAUSE_SECONDS_MAX, Math.max(PAUSE_SECONDS_MIN, pause));
  }

  /** One at a time, and each begins after it was asked for. */
  function run(): Promise<void> {
    if (parts.accounts.length > 0) sweeping = sweeping.then(sweepOnce);
    return sweeping;
  }

  function soon(): void {
    if (parts.accounts.length === 0) return;
    const waitSeconds = Math.min(PAUSE_SECONDS_MAX, Math.max(0, nextAt - parts.clock()));
    next ??= setTimeout(() => {
      next = undefined;
      void run();
    }, waitSeconds * 1_000).unref();
    clearTimeout(last);
    last = setTimeout(() => void run(), ARRIVED_AFTER_MS).unref();
  }

  return {
    run,
    soon,
    stop() {
      clearTimeout(next);
      clearTimeout(last);
    },
  };
}

async function sweep({ system, accounts, isOver, onSwept, onTrouble }: SweepParts): Promise<void> {
  try {
    const { connections, silent } = await system.connections(accounts);
    if (silent.length > 0) onTrouble(`no answer from ${silent.join(", ")}`);
    const judged = await Promise.allSettled(
      directOf(connections).map(async (connection) => {
        if (await isOver(connection)) await system.kick(connection);
      }),
    );
    const why = new Set(
      judged.flatMap((each) => (each.status === "rejected" ? [messageOf(each.reason)] : [])),
    );
    for (const one of why) onTrouble(one);
    onSwept();
  } catch (error) {
    onTrouble(messageOf(error));
  }
}

/** Those of the given that came in on the word of an auth callout of ours. */
export function directOf(connections: readonly ListedConnection[]): readonly ListedDirect[] {
  return connections.flatMap((connection) => {
    const of = parseDirectName(connection.authorizedUser);
    return of ? [{ ...connection, of }] : [];
  });
}
