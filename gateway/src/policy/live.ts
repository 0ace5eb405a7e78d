import { dirname, relative } from "node:path";
import { GatewayError } from "../errors.ts";
import type { Identity } from "../identity/identity.ts";
import type { EpochSeconds } from "../time.ts";
import { compileGrant } from "./compile.ts";
import type { Grant } from "./grant.ts";
import { loadPolicyFiles } from "./load.ts";
import { checkIssuers, parsePolicy } from "./parse.ts";
import { formatMistake, type Policy } from "./policy.ts";
import { type SealRule, sealRuleOf } from "./seal-rule.ts";

/** The Policy in force, and the Grants compiled from it. */
export interface LivePolicy {
  readonly current: Policy;
  /** Compiled once per Identity and Policy version. @throws GatewayError POLICY_INVALID when it grows too large */
  grantOf(identity: Identity, now: EpochSeconds): Grant;
  sealRuleOf(subject: string): SealRule;
}

export function createLivePolicy(policy: Policy): LivePolicy {
  // By object: a proof verified before yields the same Identity, and a forgotten one takes its Grant with it.
  const grants = new WeakMap<Identity, Grant>();
  return {
    current: policy,
    grantOf(identity, now) {
      const known = grants.get(identity);
      if (known && !(known.until !== undefined && known.until <= now)) return known;
      const grant = compileGrant(policy, identity, now);
      grants.set(identity, grant);
      return grant;
    },
    sealRuleOf: (subject) => sealRuleOf(policy, subject),
  };
}

/**
 * Loads a policy from a file or a folder.
 *
 * @returns the policy, and what is worth a look in it
 * @throws GatewayError POLICY_INVALID with every mistake, one a line
 */
export function loadPolicy(
  path: string,
  issuerNames: readonly string[],
): { readonly policy: Policy; readonly warnings: readonly string[] } {
  // Records name a rule by its file in the policy, the same on every machine that has the policy.
  const files = loadPolicyFiles(path).map((file) => ({ ...file, path: relative(dirname(path), file.path) }));
  const parsed = parsePolicy(files);
  if (!parsed.ok) {
    const list = parsed.mistakes.map(formatMistake).join("\n");
    throw new GatewayError("POLICY_INVALID", `Cannot use the policy "${path}":\n${list}`);
  }
  const { policy, warnings } = parsed;
  return { policy, warnings: [...warnings, ...checkIssuers(policy, issuerNames)].map(formatMistake) };
}
