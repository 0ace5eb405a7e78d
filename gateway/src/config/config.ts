import type { AuditConfig } from "./audit.ts";
import type { EdgeIssuerConfig } from "./edge-issuer.ts";
import type { IssuerConfig } from "./issuer.ts";
import type { LimitsInForce } from "./limits.ts";
import type { ListenConfig } from "./listen.ts";
import type { NatsConfig } from "./nats.ts";
import type { Address } from "./values.ts";

/** The configuration, checked: every path absolute, every duration and size a number with its unit in the name. */
export interface Config {
  /** Absolute path of the file it was read from. */
  readonly file: string;
  /** Scheme, host and base path, without a trailing slash: `https://apps.example.com/bus`. */
  readonly publicUrl: string;
  readonly listen: ListenConfig;
  /** Absent: no administration listener. */
  readonly admin?: Address;
  /** Origins that may call from a browser, the public one first. */
  readonly origins: readonly string[];
  /** `aud` of every seal: one per NATS account. */
  readonly trustDomain: string;
  /** Providers of tokens, in the order of the file. At least one of these or of the next. */
  readonly issuers: readonly IssuerConfig[];
  /** Those whose word comes by what stands in front: Windows authentication, client certificates, Easy Auth. */
  readonly edgeIssuers: readonly EdgeIssuerConfig[];
  readonly nats: NatsConfig;
  /** Absolute path of the policy: a file, or a folder of `*.yaml`. */
  readonly policy: string;
  /** At least one. */
  readonly audit: readonly AuditConfig[];
  /** Absolute path of the folder for what this instance keeps for itself: its seal keys. */
  readonly state: string;
  /** This instance's name in seals and records, one NATS subject token; absent = from the host's name. */
  readonly instance?: string;
  readonly session: SessionConfig;
  readonly limits: LimitsInForce;
  /** Absolute path of the demo page; absent: no /demo. */
  readonly demo?: string;
  readonly log: {
    readonly level: LogLevel;
    /** Absolute path; absent: standard error. */
    readonly file?: string;
  };
}

export interface SessionConfig {
  /** Ends a session nobody used for so long. */
  readonly idleSeconds: number;
  /** Ends a session, whatever happens. */
  readonly absoluteSeconds: number;
}

export type LogLevel = "fatal" | "error" | "warn" | "info" | "debug" | "trace";
