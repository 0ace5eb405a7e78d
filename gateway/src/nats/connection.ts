import type { Identity } from "../identity/identity.ts";
import type { Grant } from "../policy/grant.ts";
import type { Outcome } from "../refusal.ts";
import type { EpochSeconds } from "../time.ts";
import type { StreamAnswer } from "./stream-answer.ts";

/** Headers as name and value pairs, in order, names in the case they travel in. */
export type HeaderList = readonly (readonly [name: string, value: string])[];

export interface OutboundMessage {
  readonly subject: string;
  readonly payload: Uint8Array;
  readonly headers: HeaderList;
}

export interface InboundMessage {
  readonly subject: string;
  readonly reply?: string;
  readonly payload: Uint8Array;
  readonly headers: HeaderList;
  /** They, byte for byte as they came; absent where they did not come from NATS. */
  readonly headerBlock?: Uint8Array;
  /** Of a message that only says how something stands, as JetStream's to whoever pulls: 100, 404, 408, 409, 503. */
  readonly status?: number;
  /** Its place in its stream; absent: it comes as it is published. */
  readonly sequence?: number;
  /** When its stream took it; absent: it comes as it is published. */
  readonly brokerTime?: EpochSeconds;
}

/** How nats-server took what was published. */
export type Confirmation = "received" | "refused" | "unknown";

/** One identity's connection to NATS. It survives renewal of its credential and reconnects by itself. */
export interface Connection {
  /**
   * Hands one message to the socket's buffer, which leaves at the end of the turn.
   *
   * @param reply  where answers go, within this connection's inbox
   * @returns `nats_unavailable` when not connected: refused now rather than dropped later
   */
  publish(message: OutboundMessage, reply?: string): Outcome<void>;
  /** Fulfils when nats-server has processed everything published so far (one PING for all that wait). Never rejects. */
  confirm(subject: string): Promise<Confirmation>;
  /** @returns the reply, or `no_responders`, `timeout`, `nats_unavailable`, `connection_lost` */
  request(message: OutboundMessage, timeoutMs: number): Promise<Outcome<InboundMessage>>;
  /**
   * Publishes one message for a stream.
   *
   * @returns what the stream says; where no stream did, `timeout` and `connection_lost` when it may have it all the
   *   same, anything else when it certainly has not
   */
  store(message: OutboundMessage, timeoutMs: number): Promise<Outcome<StreamAnswer>>;
  /** Whether its server is one by itself: what nobody there answers, nobody elsewhere will. */
  readonly standalone: boolean;
  /** It has ended for good, and everything on it. */
  readonly over: boolean;
  /** @returns the running subscription once nats-server has taken it, or `nats_unavailable` */
  subscribe(options: SubscribeOptions): Promise<Outcome<Subscription>>;
  /** From INFO: largest payload with headers. */
  readonly payloadBytesMax: number;
  /** What this connection may subscribe to for answers, without a final dot. Another one under another grant. */
  readonly inboxPrefix: string;
}

export interface SubscribeOptions {
  readonly subject: string;
  readonly queue?: string;
  /** Called once per message, in order, without loss or duplicate across renewals. Must not throw. */
  readonly onMessage: (message: InboundMessage) => void;
  /** Called when the connection was lost and is back: what was published meanwhile is missing. */
  readonly onGap?: () => void;
  /** Called once when it ends other than by `end()`. */
  readonly onEnd: (why: "refused" | "closed" | "revoked") => void;
}

export interface Subscription {
  end(): void;
}

/** Connections by (user, actor, grant hash), bounded, each with the leases of the proofs that hold it. */
export interface Pool {
  /**
   * The connection of this identity under this grant. Dials when there is none, else answers at once. The
   * proof becomes a lease: the connection closes when its last lease has expired or ended, or when idle.
   *
   * @returns `nats_unavailable`, `capacity_exceeded` (pool full of busy connections), `credential_too_large`
   */
  connectionFor(identity: Identity, grant: Grant): Outcome<Connection> | Promise<Outcome<Connection>>;
  /** Keeps the connection from idling out while a stream is open; @returns lets go. */
  hold(identity: Identity, grant: Grant): () => void;
  /**
   * Another policy is in force: each connection becomes one under its identity's grant of now, make before
   * break; what the new grant does not allow must have been ended before.
   *
   * @param grantOf  undefined for an identity that can have none: its connections close
   */
  regrant(grantOf: (identity: Identity) => Grant | undefined): void;
  /** Ends the leases of a proof (its hash) or of a user; connections that only they held close. */
  endLeases(of: { readonly proofHash: string } | { readonly user: string }): void;
  readonly size: number;
  close(): Promise<void>;
}
