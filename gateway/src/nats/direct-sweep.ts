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
  /** Accounts that direct clients are in. */
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

/** Sign-outs that come one after another share a sweep: a list is 600 bytes a connection. */
const SWEEP_INTERVAL_SECONDS = 2;
/** A callout is answered within 10 s (`authorization.timeout`): what an instance that is gone had said is true by then. */
const ARRIVED_AFTER_MS = 12_000;

export function createDirectSweep(parts: SweepParts): DirectSweep {
  let beganAt = Number.NEGATIVE_INFINITY;
  let next: NodeJS.Timeout | undefined;
  let last: NodeJS.Timeout | undefined;
  let sweeping = Promise.resolve();

  function run(): Promise<void> {
    beganAt = parts.clock();
    sweeping = sweeping.then(() => sweep(parts));
    return sweeping;
  }

  return {
    run,
    soon() {
      next ??= setTimeout(
        () => {
          next = undefined;
          void run();
        },
        1000 *
          Math.max(0, Math.min(SWEEP_INTERVAL_SECONDS, beganAt + SWEEP_INTERVAL_SECONDS - parts.clock())),
      ).unref();
      clearTimeout(last);
      last = setTimeout(() => void run(), ARRIVED_AFTER_MS).unref();
    },
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
