import type { Admission } from "../admit.ts";
import { holderOf, type Identity } from "../identity/identity.ts";
import type { NotBeforeKey } from "../identity/session.ts";
import type { ClientWire } from "../nats/native/client-wire.ts";
import type { Grant } from "../policy/grant.ts";
import { allowed, type Outcome, type Refusal, refused } from "../refusal.ts";
import { type EpochSeconds, isoTimeOf } from "../time.ts";
import { NativeConnection } from "./connection.ts";
import type { Arrival, NativeClient, NativeParts } from "./context.ts";

/** A place that is taken, for the time between the decision and the open connection. */
export interface Place {
  /** Begins to speak the protocol. */
  begin(wire: ClientWire): NativeClient;
  /** Gives it back: nothing came of it. */
  leave(): void;
}

/** The effect of an admitted `connect native`: a connection of one's own to NATS, through here. */
export interface Native {
  /** @returns a place, or `connections_exceeded`, `capacity_exceeded`, `shutting_down` */
  enter(arrival: Arrival): Outcome<Place>;
  /** Another policy is in force. @param grantOf  undefined for an identity that can have none */
  regrant(grantOf: (identity: Identity) => Grant | undefined): void;
  /** Ends the connections whose proof a not-before has just refused. */
  revoke(key: NotBeforeKey, at: EpochSeconds): void;
  /** @returns sessions, by their hashes, whose clients have published or subscribed since this was last asked */
  takeUsed(): ReadonlySet<string>;
  readonly size: number;
  close(): Promise<void>;
}

/** Connections that have presented nothing yet. */
const UNPROVED_MAX = 500;

export function createNative(parts: NativeParts): Native {
  const open = new Set<NativeConnection>();
  const openOf = new Map<string, number>();
  let taken = 0;
  let unproved = 0;
  let closing = false;

  function count(holder: string, by: 1 | -1): void {
    const left = (openOf.get(holder) ?? 0) + by;
    if (left > 0) openOf.set(holder, left);
    else openOf.delete(holder);
  }

  /** Counted before the first await, or two connections at once would both find room for one. */
  function seat({ identity, grant, facts }: Admission): Outcome<() => void> {
    const holder = holderOf(identity);
    const connectionsMax = grant.limits.connections;
    if ((openOf.get(holder) ?? 0) >= connectionsMax)
      return neverBegan(facts.txn, { reason: "connections_exceeded", connectionsMax });
    count(holder, 1);
    return allowed(() => count(holder, -1));
  }

  /** The record said that it was allowed: it has to say too that nothing came of it. */
  function neverBegan(txn: string, refusal: Refusal): ReturnType<typeof refused> {
    const { audit, clock, instance } = parts;
    const at = isoTimeOf(clock());
    audit.complete({ kind: "completion", at, instance, txns: [txn], outcome: "failed", why: refusal.reason });
    return refused(refusal);
  }

  function room({ admission }: Arrival): Refusal | undefined {
    if (closing) return { reason: "shutting_down" };
    if (taken >= parts.connectionsMax)
      return { reason: "capacity_exceeded", what: "native connections", max: parts.connectionsMax };
    if (!admission && unproved >= UNPROVED_MAX)
      return { reason: "capacity_exceeded", what: "connections without a proof", max: UNPROVED_MAX };
    return undefined;
  }

  return {
    enter(arrival) {
      const { admission } = arrival;
      const full = room(arrival);
      if (full) return admission ? neverBegan(admission.facts.txn, full) : refused(full);
      const seated = admission ? seat(admission) : undefined;
      if (seated && !seated.ok) return seated;
      taken += 1;
      if (!admission) unproved += 1;
      let leaveSeat = seated?.value;
      let isProved = admission !== undefined;
      const prove = (): void => {
        if (!isProved) unproved -= 1;
        isProved = true;
      };
      const leave = once(() => {
        taken -= 1;
        prove();
        leaveSeat?.();
      });
      return allowed({
        leave() {
          leave();
          const why = "the handshake did not complete";
          if (admission)
            neverBegan(admission.facts.txn, { reason: "request_invalid", what: "handshake", why });
        },
        begin(wire) {
          const connection: NativeConnection = new NativeConnection(parts, arrival, wire, {
            seat(found) {
              prove();
              if (leaveSeat) return allowed(undefined);
              const taken = seat(found);
              if (!taken.ok) return taken;
              leaveSeat = taken.value;
              return allowed(undefined);
            },
            neverBegan: (txn, refusal) => void neverBegan(txn, refusal),
            onOver() {
              open.delete(connection);
              leave();
            },
          });
          open.add(connection);
          connection.begin();
          return connection;
        },
      });
    },
    regrant(grantOf) {
      for (const connection of [...open]) connection.regrant(grantOf);
    },
    revoke(key, at) {
      for (const connection of [...open]) if (connection.isMeant(key, at)) void connection.end("logout");
    },
    takeUsed: () => new Set([...open].flatMap((connection) => connection.takeUsed() ?? [])),
    get size() {
      return open.size;
    },
    async close() {
      closing = true;
      await Promise.all(Array.from(open, (connection) => connection.end("shutdown")));
    },
  };
}

function once(run: () => void): () => void {
  let done = false;
  return () => {
    if (done) return;
    done = true;
    run();
  };
}
