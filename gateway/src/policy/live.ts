import type { Identity } from "../identity/identity.ts";
import type { EpochSeconds } from "../time.ts";
import { compileGrant } from "./compile.ts";
import type { Grant } from "./grant.ts";
import type { Policy } from "./policy.ts";
import { type SealRule, sealRuleOf } from "./seal-rule.ts";

/** The Policy in force, and the Grants compiled from it. */
export interface LivePolicy {
  readonly current: Policy;
  /** Compiled once per Identity and Policy version. @throws GatewayError POLICY_INVALID when it grows too large */
  grantOf(identity: Identity, now: EpochSeconds): Grant;
  sealRuleOf(subject: string): SealRule;
  /** Puts another in force: every decision from now on is by it. */
  replace(policy: Policy): void;
  /** Called after each replacement. @returns stops listening */
  onReplace(listener: () => void): () => void;
}

export function createLivePolicy(first: Policy): LivePolicy {
  let policy = first;
  // By object: a proof verified before yields the same Identity, and a forgotten one takes its Grant with it.
  let grants = new WeakMap<Identity, Grant>();
  const listeners = new Set<() => void>();
  return {
    get current() {
      return policy;
    },
    grantOf(identity, now) {
      const known = grants.get(identity);
      if (known && !(known.until !== undefined && known.until <= now)) return known;
      const grant = compileGrant(policy, identity, now);
      grants.set(identity, grant);
      return grant;
    },
    sealRuleOf: (subject) => sealRuleOf(policy, subject),
    replace(next) {
      policy = next;
      grants = new WeakMap();
      for (const listener of listeners) listener();
    },
    onReplace(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}
