import type { Action } from "../../policy/action.ts";
import type { Grant, GrantLine } from "../../policy/grant.ts";
import type { Refusal } from "../../refusal.ts";
import type { HeaderList } from "../connection.ts";
import type { ConsumerNames } from "./consumer-names.ts";
import type { InboxMap } from "./inbox-map.ts";

/** One message that a native client publishes to `$JS.…` or `$KV.…`, as the client wrote it. */
export interface JetStreamPublish {
  readonly subject: string;
  /** The client's own reply subject, not yet rewritten: it is known to lie in the client's inbox. */
  readonly reply?: string;
  readonly payload: Uint8Array;
  /** Well-formed, in the case they came in; `Nats-*` and `KV-Operation` are still to be judged. */
  readonly headers: HeaderList;
}

export type JetStreamVerdict =
  | {
      readonly do: "forward";
      readonly subject: string;
      readonly payload: Uint8Array;
      readonly headers: HeaderList;
      /** As it was decided, for the record. */
      readonly action: Action;
      readonly line: GrantLine;
      /** How it leaves sealed: what is stored does, a request to JetStream's own interface does not. */
      readonly seal?: SealAs;
      /** Judges the first answer that comes on the reply subject; absent: it is the client's as it comes. */
      readonly onReply?: OnReply;
    }
  /**
   * The gateway answers itself, on the client's reply subject. `status`: of the answer's header block, such as 503
   * where nobody would have responded.
   */
  | { readonly do: "answer"; readonly payload: Uint8Array; readonly status?: number; readonly action: string }
  /**
   * `action`: what was tried, for the record; at most 512 characters. `payload`: what the client is told on its
   * reply subject, in JetStream's own words; absent: it is told that it may not publish there, as nats-server does.
   */
  | {
      readonly do: "refuse";
      readonly refusal: Refusal;
      readonly action: string;
      readonly payload?: Uint8Array;
    };

export interface SealAs {
  /** The seal's claim: the verb and the pattern of the subject, `write-kv:$KV.carts.demo-alice.>`. */
  readonly scope: string;
  /** The client's own `Nats-Msg-Id`: the message's id is derived from user, actor, subject and this. */
  readonly idempotencyKey?: string;
}

export type OnReply = (answer: JetStreamAnswer) => JetStreamReply;

export interface JetStreamAnswer {
  readonly payload: Uint8Array;
  /** As it came, `NATS/1.0…` to the empty line. */
  readonly headerBlock?: Uint8Array;
}

export type JetStreamReply =
  /** It is the client's as it came. */
  | { readonly do: "pass" }
  /** The client gets this in its place, without headers. */
  | { readonly do: "deliver"; readonly payload: Uint8Array }
  /** Another request goes out first, under the same reply subject. */
  | ({ readonly do: "ask" } & JetStreamStep);

/** A request to JetStream, and what becomes of its answer. */
export interface JetStreamStep {
  readonly subject: string;
  readonly payload: Uint8Array;
  readonly onReply: OnReply;
}

/** Judges what a stock client asks of JetStream and of buckets, under one connection's grant. No effect of its own. */
export interface JetStreamJudge {
  judge(publish: JetStreamPublish): JetStreamVerdict;
  /** The client has subscribed to this subject of its inbox. */
  listens(subject: string): void;
}

export interface JetStreamJudgeParts {
  readonly grant: Grant;
  readonly inbox: InboxMap;
  /** The identity's consumers, shared by all its connections under this grant. */
  readonly names: ConsumerNames;
  /** Whether the client is subscribed to this subject of its inbox; false once the connection is over. */
  readonly subscribed: (subject: string) => boolean;
}
