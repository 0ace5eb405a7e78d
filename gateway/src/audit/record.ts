import type { Identity } from "../identity/identity.ts";
import type { Refusal, RuleRef } from "../refusal.ts";

/** One per decision, allowed or refused, written before the effect. JSON, one line; `txn` joins everything. */
export interface AuditRecord {
  readonly kind: "decision";
  /** RFC 3339 with milliseconds, UTC. */
  readonly at: string;
  readonly txn: string;
  readonly requestId: string;
  /** The caller's own `X-Request-Id`, when it was not taken over. */
  readonly clientRequestId?: string;
  /** The caller's own `traceparent` (W3C Trace Context), linked here since ours starts anew. */
  readonly clientTraceparent?: string;
  readonly instance: string;
  /** Which entrance: `http`, `sse`, `nats`, `auth`, `admin`, `callout`. */
  readonly lane: string;
  /** The caller's address: as the socket says, or what stands in front. */
  readonly remote?: string;
  /** Address of what stands in front, where `remote` is its word; `socket` for one of this machine. */
  readonly hop?: string;
  /** Of a client that connects to nats-server by itself. */
  readonly connection?: ConnectionFacts;
  /** As `formatAction` writes it: `publish orders.eu.1.create`. */
  readonly action: string;
  readonly outcome: "allowed" | "refused";
  readonly user?: string;
  readonly issuer?: string;
  readonly name?: string;
  readonly actor?: string;
  readonly proof?: Identity["proof"];
  readonly acr?: string;
  /** The rule that allowed it. */
  readonly rule?: RuleRef;
  readonly refusal?: Refusal;
  /** The Policy version. */
  readonly policy?: string;
  readonly message?: MessageFacts;
  /**
   * It stands for every publish of one native connection under one rule within the second that begins with it: written
   * before the first of them leaves, while how many they were, their bytes and their roots are in its completion. So
   * nothing leaves without a record; where the completion is missing, the gateway ended within that second.
   */
  readonly many?: true;
}

/** Where nats-server shows a connection: in its list of connections and in its events. */
export interface ConnectionFacts {
  /** Its id, N…. */
  readonly server: string;
  readonly cid: number;
  /** `standard`, `websocket`, `mqtt`, `leafnode`. */
  readonly type: string;
}

/** What is kept of a message: never its payload. */
export interface MessageFacts {
  readonly id: string;
  readonly subject: string;
  readonly bytes: number;
  /** base64url SHA-256 of the payload. */
  readonly digest: string;
}

/** Completes records, after the effect: one line may complete all messages of one turn that fared alike. */
export interface AuditCompletion {
  readonly kind: "completion";
  readonly at: string;
  readonly instance: string;
  readonly txns: readonly string[];
  /**
   * `received`: nats-server confirmed it (PONG after it). `replied`: a reply came. `refused`: nats-server
   * refused what we allowed, a fault to look into. `unknown`: the connection broke before the confirmation.
   * `failed`: it never left, or was not done. `ended`: a stream ended. `stored`: the JetStream stream `stream` has
   * it; `unknown` then is that it may or may not have it.
   */
  readonly outcome: "received" | "replied" | "refused" | "unknown" | "failed" | "ended" | "stored";
  readonly why?: string;
  /** Root of the tree that sealed them, base64url; absent for tokens and unsealed effects. */
  readonly root?: string;
  /** The user who replied, as the reply's seal proves. */
  readonly by?: string;
  readonly messages?: number;
  /** Of their payloads, all together. */
  readonly bytes?: number;
  /** Roots of the trees that sealed the messages of one transaction, each base64url; beyond a thousand, on more lines. */
  readonly roots?: readonly string[];
  readonly stream?: string;
  /** Where in the stream: one for each of `txns`, in their order. */
  readonly sequences?: readonly number[];
  /** The stream had them before: these transactions have added nothing to it. */
  readonly duplicate?: true;
}

/** Writes records. Implemented by audit/log.ts. */
export interface AuditLog {
  /**
   * Fulfils when `write(2)` of every required sink has returned for this record: one write per event-loop
   * turn, shared by all records of the turn. Rejects when a sink refuses: then there must be no effect.
   *
   * @param durable  waits for fsync (file) or the PubAck (stream) besides
   */
  record(entry: AuditRecord, durable?: boolean): Promise<void>;
  /** Does not wait; a completion that cannot be written is counted and logged. */
  complete(entry: AuditCompletion): void;
  close(): Promise<void>;
}
