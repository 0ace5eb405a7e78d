import type { Admission } from "../admit.ts";
import type { InboundMessage } from "../nats/connection.ts";
import type { EpochSeconds } from "../time.ts";

/** Who sent a message, as its seal proves; `verified: false` carries why not, and no name to be taken for one. */
export type Sender =
  | {
      readonly verified: true;
      readonly user: string;
      readonly issuer: string;
      readonly name?: string;
      readonly actor?: string;
      readonly txn: string;
      readonly id: string;
    }
  | { readonly verified: false; readonly code: string };

/** A message that has come: one object for all readers to whom it comes. */
export interface Arrival {
  readonly message: InboundMessage;
  /** When it came; of a stored message, when its stream took it. */
  readonly at: EpochSeconds;
  readonly sender: Promise<Sender>;
}

export interface StreamEvent {
  readonly arrival: Arrival;
  /** As the arrival says in the end. */
  readonly sender: Sender;
  /** Of a stored message: where the reader is once it has this. */
  readonly positions?: Positions;
}

/** Of each subject, in the order of the admissions: the sequence up to which nothing of it is left to come. */
export type Positions = readonly number[];

/** Why a stream ends: the `code` of its last event. */
export type EndCode =
  | "expired"
  | "logout"
  | "policy"
  | "shutdown"
  | "unavailable"
  | "slow_reader"
  | "messages_gone"
  | "stream_reset"
  | "closed";

/** Where a stream's events go. */
export interface StreamSink {
  /** @returns false when the reader is too far behind: what is stored waits for it, any other stream ends */
  deliver(event: StreamEvent): boolean;
  /** Fulfils once it has caught up; with false when it does not, or has left. */
  drained(): Promise<boolean>;
  /** Where the reader of what is stored is: at the beginning, and then when nothing came that it asked for. */
  reached(positions: Positions): void;
  /** Called exactly once, whatever ends it. */
  end(code: EndCode): void;
}

export interface SubscribeAdmission {
  readonly admission: Admission;
  readonly subject: string;
  readonly queue?: string;
}
