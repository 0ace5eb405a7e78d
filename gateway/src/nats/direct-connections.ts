import { messageOf } from "../errors.ts";
import { revocationOf } from "../identity/identify.ts";
import type { Identity } from "../identity/identity.ts";
import type { NotBeforeKey, SessionStore } from "../identity/session.ts";
import type { Grant } from "../policy/grant.ts";
import { allowed, type Outcome, refused } from "../refusal.ts";
import type { Clock, EpochSeconds } from "../time.ts";

/** A connection that goes past the gateway, as this instance's auth callout judged it. */
export interface DirectConnection extends Place {
  readonly identity: Identity;
  readonly grantHash: string;
  /** How it came, for the log: `nats`, `websocket`, `mqtt`, `leafnode`. */
  readonly way: string;
  /** Of the user JWT: nats-server closes it then. */
  readonly expiresAt: EpochSeconds;
}

/** Where it is: both stand in the callout's request, before it is answered. */
export interface Place {
  /** `server_id.id`, N…. */
  readonly serverId: string;
  /** `client_info.id`. */
  readonly cid: number;
}

/** What the gateway does not carry and must end all the same: clients that nats-server let in on our word. */
export interface DirectConnections {
  /**
   * Takes a connection that is about to be allowed, BEFORE the callout is answered. Whether its proof and its grant
   * still stand is asked here again, so that nothing which ends connections can come between the judgement and the
   * memory of it: what came before is refused here; what comes after cuts it, also while nats-server is still
   * waiting for the answer, since a connection has its number from the moment it is accepted.
   *
   * @returns `proof_revoked`, or `check_unavailable`: then it must be refused
   */
  add(connection: DirectConnection): Outcome<void>;
  /** Cuts those whose proof a not-before has just refused. */
  end(key: NotBeforeKey, at: EpochSeconds): void;
  /**
   * Another policy is in force: those whose grant is another now are cut, and judged by it when they come back.
   *
   * @param grantOf  undefined for an identity that can have none
   */
  regrant(grantOf: (identity: Identity) => Grant | undefined): void;
  has(place: Place): boolean;
  readonly size: number;
}

export interface DirectParts {
  /** Closes a connection on whichever server; never rejects. */
  readonly kick: (place: Place) => Promise<unknown>;
  /** Throws when it cannot be known. */
  readonly notBefore: SessionStore["notBefore"];
  readonly grantOf: (identity: Identity) => Grant | undefined;
  readonly clock: Clock;
}

/** About 300 bytes each, beside the identity that connections of one proof share. What is forgotten, the sweep finds. */
const CONNECTIONS_MAX = 100_000;
const PRUNE_AT_LEAST = 1_024;

export function createDirectConnections(parts: DirectParts): DirectConnections {
  const { kick, notBefore, grantOf, clock } = parts;
  const known = new Map<string, DirectConnection>();
  let pruneAt = PRUNE_AT_LEAST;

  function cut(connection: DirectConnection): void {
    known.delete(keyOf(connection));
    void kick(connection);
  }

  /** Nobody tells us of those that have closed; when their time is over they have. */
  function makeRoom(): void {
    if (known.size < pruneAt) return;
    const now = clock();
    for (const [key, { expiresAt }] of known) if (expiresAt <= now) known.delete(key);
    for (const oldest of known.keys()) {
      if (known.size <= CONNECTIONS_MAX - PRUNE_AT_LEAST) break;
      known.delete(oldest);
    }
    // Not looked at again before many more have come, so that this costs each of them no more than a constant.
    pruneAt = Math.min(CONNECTIONS_MAX, Math.max(PRUNE_AT_LEAST, 2 * known.size));
  }

  function standing({ identity, grantHash }: DirectConnection): Outcome<void> {
    try {
      const revoked = revocationOf(identity, notBefore);
      if (revoked) return refused(revoked);
    } catch (error) {
      return unavailable("sign-outs", messageOf(error));
    }
    return grantOf(identity)?.hash === grantHash
      ? allowed(undefined)
      : unavailable("policy", "it changed while this connection was being judged");
  }

  return {
    add(connection) {
      const stands = standing(connection);
      if (!stands.ok) return stands;
      makeRoom();
      known.set(keyOf(connection), connection);
      return stands;
    },
    end(key, at) {
      for (const connection of known.values()) if (isMeant(connection.identity, key, at)) cut(connection);
    },
    regrant(newGrantOf) {
      for (const connection of known.values())
        if (newGrantOf(connection.identity)?.hash !== connection.grantHash) cut(connection);
    },
    has: (place) => known.has(keyOf(place)),
    get size() {
      return known.size;
    },
  };
}

/** An agent's connection in a user's name ends with either of them. */
function isMeant({ user, actor, proof, provedAt }: Identity, key: NotBeforeKey, at: EpochSeconds): boolean {
  const named =
    key.user === undefined ? key.session === proof.hash : key.user === user || key.user === actor?.user;
  return named && provedAt <= at;
}

function keyOf({ serverId, cid }: Place): string {
  return `${serverId} ${cid}`;
}

function unavailable(check: string, why: string): Outcome<never> {
  return refused({ reason: "check_unavailable", check, why });
}
