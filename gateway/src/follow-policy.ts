import { GatewayError, messageOf } from "./errors.ts";
import type { Logger } from "./log.ts";
import { judgeCandidate, readPolicyFiles } from "./policy/candidate.ts";
import type { LivePolicy } from "./policy/live.ts";
import type { PolicyFile } from "./policy/policy.ts";
import { signatureOf } from "./policy/signature.ts";
import type { PolicyStore } from "./policy/store.ts";
import type { Clock } from "./time.ts";

export interface FollowParts {
  /** The policy's own file or folder: in force until one is pushed. */
  readonly path: string;
  readonly issuerNames: readonly string[];
  readonly store: Pick<PolicyStore, "current" | "filesOf">;
  readonly live: LivePolicy;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * Keeps the policy in force the one that should be: the pushed one, or else the file's. One that does not parse or
 * fails its own tests never replaces one that works; `problem` says so.
 */
export class PolicyFollower {
  readonly #parts: FollowParts;
  /** What was last looked at, in force or refused: it is not judged again every second. */
  #judged: string;
  /** Why what was last judged is not in force. */
  #refused: string | undefined;
  /** Why it could not be looked. */
  #unreadable: string | undefined;
  #pushed = false;
  #looking: Promise<void> = Promise.resolve();

  /** The file's policy is in force already. */
  constructor(parts: FollowParts) {
    this.#parts = parts;
    this.#judged = `file ${signatureOf(parts.path)}`;
  }

  /** Why a newer policy is not in force. */
  get problem(): string | undefined {
    return this.#unreadable ?? this.#refused;
  }

  get source(): "file" | "pushed" {
    return this.#pushed ? "pushed" : "file";
  }

  /**
   * The first look. The file's policy may be wider than the one that was pushed: where that cannot be known, or may
   * not go live here, nothing begins.
   *
   * @throws GatewayError POLICY_INVALID
   */
  async begin(): Promise<void> {
    await this.look();
    if (this.problem === undefined) return;
    throw new GatewayError(
      "POLICY_INVALID",
      `Cannot begin under the policy that was pushed: ${this.problem}`,
    );
  }

  /** Judges even what has been judged before: after SIGHUP. */
  reload(): Promise<void> {
    this.#judged = "";
    return this.look();
  }

  /** Never rejects. One at a time, and each begins after it was asked for: a push is seen by the look that follows it. */
  look(): Promise<void> {
    this.#looking = this.#looking.then(() => this.#look());
    return this.#looking;
  }

  async #look(): Promise<void> {
    const { store, path } = this.#parts;
    try {
      const pushed = await store.current();
      this.#pushed = pushed !== undefined;
      const found = pushed ? `pushed ${pushed.version}` : `file ${signatureOf(path)}`;
      if (found !== this.#judged) {
        const files = pushed ? await store.filesOf(pushed.version) : readPolicyFiles(path);
        if (!files) throw new Error(`the files of the pushed policy ${pushed?.version} are gone`);
        this.#judged = found;
        this.#consider(files, pushed ? `the policy pushed by ${pushed.by}` : path);
      }
      this.#unreadable = undefined;
    } catch (error) {
      const why = messageOf(error);
      if (why !== this.#unreadable) this.#log(why);
      this.#unreadable = why;
    }
  }

  #consider(files: readonly PolicyFile[], from: string): void {
    const { issuerNames, live, clock, log } = this.#parts;
    const candidate = judgeCandidate(files, issuerNames, clock());
    if (!candidate.ok) {
      this.#refuse(`${from} may not go live: ${candidate.mistakes.join("; ")}`);
      return;
    }
    this.#refused = undefined;
    for (const warning of candidate.warnings) log.warn({ policy: warning }, "policy");
    if (candidate.policy.version === live.current.version) return;
    log.info({ former: live.current.version, version: candidate.policy.version, from }, "policy in force");
    live.replace(candidate.policy);
  }

  #refuse(why: string): void {
    if (why !== this.#refused) this.#log(why);
    this.#refused = why;
  }

  /** Once for each reason: this is asked every second. */
  #log(why: string): void {
    const { log, live } = this.#parts;
    log.error({ why, version: live.current.version }, "policy not replaced");
  }
}
