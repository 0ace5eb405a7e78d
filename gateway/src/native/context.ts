import type { SealDraft } from "@countersign/seal";
import type { Admission, Admit, RequestFacts } from "../admit.ts";
import type { AuditLog } from "../audit/record.ts";
import type { Identity, Presented } from "../identity/identity.ts";
import type { InboundMessage } from "../nats/connection.ts";
import type { LinkOf } from "../nats/native/identity-dial.ts";
import type { ServerInfo } from "../nats/native/info.ts";
import type { JetStreamJudge, JetStreamJudgeParts } from "../nats/native/jetstream.ts";
import type { DialNativeLink } from "../nats/native/splice.ts";
import type { Grant } from "../policy/grant.ts";
import type { Outcome, Refusal } from "../refusal.ts";
import type { Sealed } from "../seal-turn.ts";
import type { Sender } from "../subscribe.ts";
import type { Clock, EpochSeconds } from "../time.ts";

/** What every native connection works with. */
export interface NativeShared {
  /** What every seal of this gateway says alike. */
  readonly names: Pick<SealDraft, "issuer" | "audience" | "workload">;
  /** Messages of one turn, of all connections, share one signature. */
  readonly seal: (draft: SealDraft) => Promise<Sealed>;
  /** Whether the policy wants each message on this subject recorded on disk before it leaves. */
  readonly isDurable: (subject: string) => boolean;
  readonly withinRate: (identity: Identity, grant: Grant, now: EpochSeconds) => Outcome<void>;
  /** Verifies the seal of a request, whose answer then says what it answers. */
  readonly senderOf: (message: InboundMessage) => Promise<Sender>;
  /**
   * The id of a message that its sender named: a repetition by the same user and actor has the same one, and nobody else
   * can make it.
   */
  readonly messageIdOf: (identity: Identity, subject: string, name: string) => string;
  readonly createJudge: (parts: Omit<JetStreamJudgeParts, "names">) => JetStreamJudge;
  readonly audit: AuditLog;
  readonly clock: Clock;
  readonly instance: string;
}

/** Whose connection it is. */
export interface Holder {
  readonly identity: Identity;
  /** Changes with the policy. */
  grant: Grant;
  readonly facts: Admission["facts"];
}

/** Who is at the door, before anything of the NATS protocol was said. */
export interface Arrival {
  readonly presented: Presented;
  readonly facts: RequestFacts;
  /** Absent when nothing was presented: then CONNECT has to bring it. */
  readonly admission: Admission | undefined;
}

/** The client's half of an open connection. */
export interface NativeClient {
  feed(chunk: Buffer): void;
  /** Whether its CONNECT has come, good or not. */
  readonly hasConnected: boolean;
  /** What was given to the wire has left. */
  drained(): void;
  /** The wire is closed. */
  closed(): void;
}

/** What makes one of a client's connections. */
export interface NativeParts extends NativeShared {
  readonly admit: Admit;
  /** What a server of ours says of itself, for the greeting of a client that nothing is known of. */
  readonly greeting: () => ServerInfo | undefined;
  readonly dialLinkOf: (of: LinkOf) => DialNativeLink;
  readonly nextExpiry: (identity: Identity, grant: Grant) => Outcome<EpochSeconds>;
  readonly tokenBytesMax: number;
  /** Connections at once, of all users together. */
  readonly connectionsMax: number;
  /** Asked once more when the proof has been recorded: what was signed out meanwhile. Throws when it cannot be known. */
  readonly revocationOf: (identity: Identity) => Refusal | undefined;
  /** Under the policy in force now; undefined for an identity that can have none. */
  readonly grantOf: (identity: Identity) => Grant | undefined;
}
