import type { RuleRef } from "../refusal.ts";
import type { EpochSeconds } from "../time.ts";

/**
 * Everything one Identity may do under one Policy version: compiled once, cached, the single source of both
 * the gateway's decisions (`decide`) and the NATS permissions (`permissionsOf`).
 */
export interface Grant {
  readonly user: string;
  /** The Policy version it was compiled from: SHA-256 of the files, lower-case hex. */
  readonly policy: string;
  /** base64url SHA-256 over what NATS is told (permissions and limits), not over the policy version: a policy
   *  change that changes nothing for this identity keeps its connection. */
  readonly hash: string;
  /** Names of the roles it was given, in the order of the policy. */
  readonly roles: readonly string[];
  /** Lines with their templates filled in, one entry per resulting subject. */
  readonly may: readonly GrantLine[];
  readonly never: readonly GrantLine[];
  /** Lines that the roles have and the Grant has not, because nats-server could not be told them exactly. */
  readonly withheld?: readonly Withheld[];
  readonly limits: Limits;
  /** The earliest `until` of the roles given, after which it must be compiled anew. */
  readonly until?: EpochSeconds;
}

/** A line that grants nothing, and the lines it does not go together with. */
export interface Withheld {
  readonly line: GrantLine;
  readonly why: /** A `never` overlaps what is read: reading filters by pattern, and a pattern cannot have holes. */
    | "never_overlaps"
    /** `subscribe` with and without a queue on overlapping but different patterns. */
    | "queue_conflict"
    /** nats-server reads a final `*` as `>`, and another line reaches below it; or a `never` cuts a hole with wildcards. */
    | "direct_too_wide";
  readonly because: readonly RuleRef[];
}

export interface GrantLine {
  readonly verb: string;
  /** A NATS subject pattern with `*` and `>`; empty for verbs without a subject. */
  readonly pattern: string;
  /** The queue a `subscribe … queue Q` or `respond … queue Q` line allows. */
  readonly queue?: string;
  /** Stream, bucket, consumer names, way: what else the verb takes, as written. */
  readonly object?: Readonly<Record<string, string | readonly string[]>>;
  readonly rule: RuleRef;
}

/** The sum over the roles given: the largest of each, except `credentialSeconds`, where the shortest counts. */
export interface Limits {
  /** Life of a Credential. Default 600 (10 m). */
  readonly credentialSeconds: number;
  /** Largest payload of one message. Default 1 MiB less the size of a seal. */
  readonly payloadBytes: number;
  /** Messages a second, in bursts of at most one second's worth; undefined = unlimited. */
  readonly ratePerSecond?: number;
  /** Streams and connections open at once. Default 20. */
  readonly connections: number;
}

/** NATS permissions as a user JWT carries them. Absent lists are absent: an empty `allow` would mean everything. */
export interface NatsPermissions {
  readonly pub: { readonly allow?: readonly string[]; readonly deny?: readonly string[] };
  /** Entries are `subject` or `subject queue`. */
  readonly sub: { readonly allow?: readonly string[]; readonly deny?: readonly string[] };
  /** For `respond`: how many replies to one request, within how long. */
  readonly resp?: { readonly max: number; readonly ttlNanoseconds: number };
}
