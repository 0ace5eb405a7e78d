import type { Refusal, RuleRef } from "../refusal.ts";
import type { EpochSeconds } from "../time.ts";
import { formatAction } from "./action.ts";
import { compileGrant } from "./compile.ts";
import { decide } from "./decide.ts";
import type { Grant } from "./grant.ts";
import { identityOf } from "./named.ts";
import type { Policy, PolicyTest, TestedAction } from "./policy.ts";

/** How one action of one test went. */
export interface TestResult {
  readonly passed: boolean;
  readonly as: string;
  readonly action: string;
  readonly expected: "allowed" | "refused";
  /** The line that allowed it. */
  readonly rule?: RuleRef;
  readonly refusal?: Refusal;
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/**
 * Runs the policy's own tests. A policy whose tests fail never goes live.
 *
 * @returns one result per action, in the order of the policy; none when it has no tests
 * @throws GatewayError as `compileGrant`
 */
export function runPolicyTests(policy: Policy, now: EpochSeconds): readonly TestResult[] {
  const identities = new Map(policy.identities.map((named) => [named.name, named]));
  return policy.tests.flatMap((test) => {
    const named = identities.get(test.as);
    if (!named) return [];
    const grant = compileGrant(policy, identityOf(named, now), now);
    return [
      ...test.allowed.map((tested) => runOne(test, tested, "allowed", grant)),
      ...test.refused.map((tested) => runOne(test, tested, "refused", grant)),
    ];
  });
}

function runOne(
  test: PolicyTest,
  { action, line, column }: TestedAction,
  expected: "allowed" | "refused",
  grant: Grant,
): TestResult {
  const outcome = decide(grant, action);
  return {
    passed: outcome.ok === (expected === "allowed"),
    as: test.as,
    action: formatAction(action),
    expected,
    ...(outcome.ok ? { rule: outcome.value.rule } : { refusal: outcome.refusal }),
    file: test.file,
    line,
    column,
  };
}
