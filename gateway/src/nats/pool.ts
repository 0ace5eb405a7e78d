import { GatewayError } from "../errors.ts";
import { holderOf, type Identity } from "../identity/identity.ts";
import type { Grant } from "../policy/grant.ts";
import { allowed, type Outcome, refused } from "../refusal.ts";
import type { Clock, EpochSeconds } from "../time.ts";
import type { Connection, Pool } from "./connection.ts";
import { IdentityConnection, type ServerWish } from "./identity-connection.ts";
import type { Link } from "./link.ts";

export interface PoolOptions {
  /** Connections open at once, 1–100,000. Default 5,000: 35 kB each here, 51 kB in nats-server (measured). */
  readonly connectionsMax?: number;
  /** A connection that nobody holds, reads from or waits on closes after this, 1–86,400 s. Default 60. */
  readonly idleSeconds?: number;
  /** How often leases and idleness are looked at, 10–60,000 ms. Default 1,000. */
  readonly sweepIntervalMs?: number;
}

export interface PoolParts {
  /** Mints a credential for this identity under this grant and dials with it. */
  readonly dialLink: (identity: Identity, grant: Grant, wish: ServerWish) => Promise<Outcome<Link>>;
  /** When a credential minted now would expire. */
  readonly nextExpiry: (identity: Identity, grant: Grant) => Outcome<EpochSeconds>;
  readonly clock: Clock;
  /** A reader's callback threw: a mistake of ours, to be logged. */
  readonly onFault: (error: unknown) => void;
}

const CONNECTIONS_MAX = 5_000;
const IDLE_SECONDS = 60;
const SWEEP_INTERVAL_MS = 1_000;
/** Proofs that hold one connection at most; the one that ends first makes room. */
const LEASES_MAX = 256;

/** @throws GatewayError `CONFIG_INVALID` */
export function createPool(parts: PoolParts, options: PoolOptions = {}): Pool {
  return new ConnectionPool(parts, options);
}

class ConnectionPool implements Pool {
  readonly #parts: PoolParts;
  readonly #connectionsMax: number;
  readonly #idleSeconds: number;
  readonly #sweep: NodeJS.Timeout;
  readonly #entries = new Map<string, Entry>();
  readonly #holds = new Map<string, Set<Hold>>();
  readonly #ending = new Set<Promise<void>>();
  #closing = false;

  constructor(parts: PoolParts, options: PoolOptions) {
    this.#parts = parts;
    this.#connectionsMax = bounded("connectionsMax", options.connectionsMax ?? CONNECTIONS_MAX, 1, 100_000);
    this.#idleSeconds = bounded("idleSeconds", options.idleSeconds ?? IDLE_SECONDS, 1, 86_400);
    const everyMs = bounded("sweepIntervalMs", options.sweepIntervalMs ?? SWEEP_INTERVAL_MS, 10, 60_000);
    this.#sweep = setInterval(() => this.#sweepNow(), everyMs);
    this.#sweep.unref();
  }

  get size(): number {
    return this.#entries.size;
  }

  connectionFor(identity: Identity, grant: Grant): Outcome<Connection> | Promise<Outcome<Connection>> {
    if (this.#closing) return refused({ reason: "shutting_down" });
    const now = this.#parts.clock();
    if (identity.expiresAt <= now)
      return refused({ reason: "proof_expired", expiredAt: identity.expiresAt, now });
    const key = keyOf(identity, grant);
    const known = this.#entries.get(key);
    if (known) {
      known.lease(identity, now);
      return known.answer;
    }
    if (!this.#makeRoom())
      return refused({ reason: "capacity_exceeded", what: "connections", max: this.#connectionsMax });
    return this.#open(key, identity, grant, now);
  }

  /** Counted whether or not the connection is there yet: a stream holds before it asks for one. */
  hold(identity: Identity, grant: Grant): () => void {
    const hold: Hold = { key: keyOf(identity, grant) };
    this.#holdsOf(hold.key).add(hold);
    return () => {
      const holds = this.#holds.get(hold.key);
      if (!holds?.delete(hold)) return;
      if (holds.size === 0) this.#holds.delete(hold.key);
      const entry = this.#entries.get(hold.key);
      if (entry) entry.usedAt = this.#parts.clock();
    };
  }

  #holdsOf(key: string): Set<Hold> {
    const holds = this.#holds.get(key) ?? new Set();
    this.#holds.set(key, holds);
    return holds;
  }

  regrant(grantOf: (identity: Identity) => Grant | undefined): void {
    for (const [key, entry] of [...this.#entries]) {
      const grant = grantOf(entry.identity);
      if (!grant) {
        this.#end(key, entry, "revoked");
        continue;
      }
      if (grant.hash === entry.grant.hash) continue;
      const next = keyOf(entry.identity, grant);
      // Another of the user's connections has that grant already; readers of this one open their streams anew.
      if (this.#entries.has(next)) {
        this.#end(key, entry, "closed");
        continue;
      }
      this.#entries.delete(key);
      this.#entries.set(next, entry);
      this.#moveHolds(key, next);
      entry.key = next;
      entry.grant = grant;
      entry.connection?.renewNow();
    }
  }

  #moveHolds(from: string, to: string): void {
    const holds = this.#holds.get(from);
    if (!holds) return;
    this.#holds.delete(from);
    for (const hold of holds) {
      hold.key = to;
      this.#holdsOf(to).add(hold);
    }
  }

  endLeases(of: { readonly proofHash: string } | { readonly user: string }): void {
    for (const [key, entry] of this.#entries) {
      const ended = "user" in of ? entry.endLeasesOf(of.user) : entry.endLease(of.proofHash);
      if (ended) this.#end(key, entry, "revoked");
    }
  }

  async close(): Promise<void> {
    this.#closing = true;
    clearInterval(this.#sweep);
    for (const [key, entry] of this.#entries) this.#end(key, entry, "closed");
    await Promise.all(this.#ending);
  }

  /** One dial for all that ask meanwhile. */
  async #open(
    key: string,
    identity: Identity,
    grant: Grant,
    now: EpochSeconds,
  ): Promise<Outcome<Connection>> {
    const { promise, resolve } = Promise.withResolvers<Outcome<Connection>>();
    const entry = new Entry(key, identity, grant, now, promise);
    this.#entries.set(key, entry);
    const outcome = await this.#dial(entry);
    if (!outcome.ok) this.#forget(entry);
    resolve(outcome);
    return outcome;
  }

  async #dial(entry: Entry): Promise<Outcome<Connection>> {
    const { dialLink, nextExpiry, clock, onFault } = this.#parts;
    const dialledUnder = entry.grant;
    const link = await dialLink(entry.identity, dialledUnder, {});
    if (!link.ok) return link;
    const connection = new IdentityConnection(link.value, {
      dialLink: (wish) => dialLink(entry.identity, entry.grant, wish),
      nextExpiry: () => nextExpiry(entry.identity, entry.grant),
      clock,
      onFault,
      onOver: () => this.#forget(entry),
    });
    // Its leases may have ended, or the pool closed, while it was being dialled.
    if (this.#entries.get(entry.key) !== entry) {
      await connection.close("revoked");
      return refused({ reason: "nats_unavailable", why: "it was closed while it was being opened" });
    }
    if (entry.grant !== dialledUnder) connection.renewNow();
    return entry.opened(connection);
  }

  #forget(entry: Entry): void {
    if (this.#entries.get(entry.key) === entry) this.#entries.delete(entry.key);
  }

  #sweepNow(): void {
    const now = this.#parts.clock();
    for (const [key, entry] of this.#entries) {
      const held = entry.expireLeases(now);
      const idle = this.#isIdle(key, entry) && entry.usedAt + this.#idleSeconds <= now;
      if (!held || idle) this.#end(key, entry, "closed");
    }
  }

  #isIdle(key: string, entry: Entry): boolean {
    return entry.idle && !this.#holds.has(key);
  }

  #makeRoom(): boolean {
    if (this.#entries.size < this.#connectionsMax) return true;
    let oldest: [string, Entry] | undefined;
    for (const [key, entry] of this.#entries)
      if (this.#isIdle(key, entry) && (!oldest || entry.usedAt < oldest[1].usedAt)) oldest = [key, entry];
    if (!oldest) return false;
    this.#end(...oldest, "closed");
    return true;
  }

  #end(key: string, entry: Entry, why: "closed" | "revoked"): void {
    this.#entries.delete(key);
    if (!entry.connection) return;
    const ended = entry.connection.close(why).finally(() => this.#ending.delete(ended));
    this.#ending.add(ended);
  }
}

/** Keeps a connection from idling out; `key` follows when the connection gets another grant. */
interface Hold {
  key: string;
}

/** A connection, or the dial that will bring it, with the proofs that hold it. */
class Entry {
  /** Changes with the grant. */
  key: string;
  grant: Grant;
  /** The proof that ends last: what the next credential is minted from. */
  identity: Identity;
  answer: Outcome<Connection> | Promise<Outcome<Connection>>;
  connection: IdentityConnection | undefined;
  usedAt: EpochSeconds;
  readonly #leases = new Map<string, Identity>();

  constructor(
    key: string,
    identity: Identity,
    grant: Grant,
    now: EpochSeconds,
    answer: Promise<Outcome<Connection>>,
  ) {
    this.key = key;
    this.identity = identity;
    this.grant = grant;
    this.usedAt = now;
    this.answer = answer;
    this.#leases.set(identity.proof.hash, identity);
  }

  /** Whether nobody reads from it or waits for an answer; while it is being dialled, somebody waits. */
  get idle(): boolean {
    return this.connection !== undefined && !this.connection.busy;
  }

  opened(connection: IdentityConnection): Outcome<Connection> {
    this.connection = connection;
    this.answer = allowed(connection);
    return this.answer;
  }

  lease(identity: Identity, now: EpochSeconds): void {
    this.usedAt = now;
    const known = this.#leases.get(identity.proof.hash);
    if (known === identity) return;
    this.#leases.set(identity.proof.hash, identity);
    if (this.#leases.size > LEASES_MAX) this.#leases.delete(this.#shortest().proof.hash);
    this.#chooseIdentity();
  }

  /** @returns whether that was its last lease */
  endLease(proofHash: string): boolean {
    if (!this.#leases.delete(proofHash)) return false;
    this.#chooseIdentity();
    return this.#leases.size === 0;
  }

  /** @returns whether it was this user's, or was used in somebody's name by this user */
  endLeasesOf(user: string): boolean {
    return this.identity.user === user || this.identity.actor?.user === user;
  }

  /** @returns whether any is left */
  expireLeases(now: EpochSeconds): boolean {
    for (const [hash, { expiresAt }] of this.#leases) if (expiresAt <= now) this.#leases.delete(hash);
    return this.#leases.size > 0;
  }

  #shortest(): Identity {
    return this.#pick((lease, found) => lease.expiresAt < found.expiresAt);
  }

  #chooseIdentity(): void {
    if (this.#leases.size > 0)
      this.identity = this.#pick((lease, found) => lease.expiresAt > found.expiresAt);
  }

  #pick(isBetter: (lease: Identity, found: Identity) => boolean): Identity {
    return [...this.#leases.values()].reduce((found, lease) => (isBetter(lease, found) ? lease : found));
  }
}

function keyOf(identity: Identity, grant: Grant): string {
  return `${holderOf(identity)} ${grant.hash}`;
}

function bounded(name: string, value: number, least: number, most: number): number {
  if (Number.isFinite(value) && value >= least && value <= most) return value;
  throw new GatewayError("CONFIG_INVALID", `nats pool ${name} must be ${least}–${most}, found ${value}`);
}
