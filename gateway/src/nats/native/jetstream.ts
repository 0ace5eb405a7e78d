import type { Action } from "../../policy/action.ts";
import type { Grant, GrantLine } from "../../policy/grant.ts";
import { type Refusal, refused } from "../../refusal.ts";
import type { HeaderList } from "../connection.ts";
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
      /** Whether it leaves sealed: what is stored does, a request to JetStream's own interface does not. */
      readonly seal: boolean;
      /** Puts the names that were rewritten back, in the first answer that comes on the reply subject. */
      readonly onReply?: (payload: Uint8Array) => Uint8Array;
    }
  /** The gateway answers itself, on the client's reply subject. */
  | { readonly do: "answer"; readonly payload: Uint8Array; readonly action: Action }
  /** `action`: what was tried, for the record; at most 512 characters. */
  | { readonly do: "refuse"; readonly refusal: Refusal; readonly action: string };

/** Judges what a stock client asks of JetStream and of buckets, under one connection's grant. Pure: no effect, no clock. */
export interface JetStreamJudge {
  judge(publish: JetStreamPublish): JetStreamVerdict;
}

export interface JetStreamJudgeParts {
  readonly grant: Grant;
  /** The `<user>` that the names of its consumers begin with. */
  readonly user: string;
  readonly inbox: InboxMap;
}

export type CreateJetStreamJudge = (parts: JetStreamJudgeParts) => JetStreamJudge;

/** Refuses all of it. */
export const createNoJetStream: CreateJetStreamJudge = () => ({
  judge({ subject }) {
    const action = `publish ${subject}`;
    const { refusal } = refused({ reason: "not_granted", action });
    return { do: "refuse", refusal, action };
  },
});
