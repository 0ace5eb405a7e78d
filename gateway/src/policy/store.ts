import type { EpochSeconds } from "../time.ts";
import type { PolicyFile } from "./policy.ts";

/** One policy that was pushed. */
export interface PushedPolicy {
  /** SHA-256, lower-case hex. */
  readonly version: string;
  /** Who pushed it, or rolled back to it. */
  readonly by: string;
  readonly at: EpochSeconds;
  /** The version it replaced. */
  readonly former: string;
}

/**
 * The policies pushed to the gateways, kept where no user can reach: one of them in force, the former ones to go
 * back to. Implemented by nats/policy-kv.ts. Every method may reject.
 */
export interface PolicyStore {
  /** What is in force, as a majority has it. @returns undefined when none was ever pushed */
  current(): Promise<PushedPolicy | undefined>;
  /** @returns undefined when that version was never pushed */
  filesOf(version: string): Promise<readonly PolicyFile[] | undefined>;
  /** Puts one in force, unless something else than `replaces` is. @returns whether it is */
  push(
    policy: PushedPolicy,
    files: readonly PolicyFile[],
    replaces: PushedPolicy | undefined,
  ): Promise<boolean>;
  /** What was in force, newest first, at most 64. */
  history(): Promise<readonly PushedPolicy[]>;
}
