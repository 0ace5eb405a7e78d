import assert from "node:assert/strict";
import type { Identity } from "countersign/identity/identity.ts";
import { compileGrant } from "countersign/policy/compile.ts";
import { decide } from "countersign/policy/decide.ts";
import { parsePolicy } from "countersign/policy/parse.ts";
import { parse } from "yaml";

const ROLES = 1_000;
const LINES = 20;
/** Roles of the identity that is measured: 3,800 lines, near the most a Grant may hold. */
const ROLES_GIVEN = 190;
/** Decisions between looks at the clock. */
const ROUNDS = 256;

/**
 * Checks, compiles and decides under a policy of 1,000 roles with 20 rules each; the baseline is what the YAML
 * parser alone takes for the same text.
 *
 * @param options.seconds  for all parts together
 * @returns milliseconds and microseconds, and the ratio that must not rise: checking to parsing
 */
export async function run({ seconds }: { readonly seconds: number }): Promise<Record<string, number>> {
  const partMs = (seconds * 1000) / 4;
  const text = policyText();
  const files = [{ path: "bench.yaml", text }];
  const parsed = parsePolicy(files);
  assert(parsed.ok, "the policy of the bench can be read");
  const { policy } = parsed;
  const identity = identityOf();
  const grant = compileGrant(policy, identity, 0);
  assert.equal(grant.roles.length, ROLES_GIVEN);

  const yaml = medianMs(partMs, () => void parse(text));
  const check = medianMs(partMs, () => void parsePolicy(files));
  const compile = medianMs(partMs, () => void compileGrant(policy, identity, 0));
  let next = 0;
  const action = { verb: "publish", subject: "" } as const;
  const decideMany = medianMs(partMs, () => {
    for (let round = 0; round < ROUNDS; round++) {
      const role = next++ % ROLES_GIVEN;
      const outcome = decide(grant, { ...action, subject: `orders.eu.r${role}.4711.t7` });
      assert(outcome.ok);
    }
  });
  return {
    "YAML parser alone, ms": yaml,
    "check, ms": check,
    "ratio: check to YAML parser": check / yaml,
    "compile 3,800 lines, ms": compile,
    "decide under 3,800 lines, µs": (decideMany * 1000) / ROUNDS,
  };
}

function medianMs(forMs: number, once: () => void): number {
  once();
  const times: number[] = [];
  const until = performance.now() + forMs;
  do {
    const started = performance.now();
    once();
    times.push(performance.now() - started);
  } while (performance.now() < until);
  times.sort((a, b) => a - b);
  return times[Math.floor(times.length / 2)] ?? 0;
}

function policyText(): string {
  const roles = Array.from({ length: ROLES }, (_, role) => {
    const lines = Array.from(
      { length: LINES },
      (__, line) => `      - publish orders.{region}.r${role}.*.t${line}`,
    );
    return `  role-${role}:\n    given-to: [ { issuer: demo, groups: G${role} } ]\n    may:\n${lines.join("\n")}`;
  });
  return `version: 1\nroles:\n${roles.join("\n")}\n`;
}

function identityOf(): Identity {
  return {
    user: "demo-alice",
    issuer: "demo",
    id: "alice",
    kind: "user",
    attributes: { groups: Array.from({ length: ROLES_GIVEN }, (_, role) => `G${role}`), region: ["eu"] },
    proof: { kind: "bearer", hash: "A".repeat(43) },
    provedAt: 0,
    expiresAt: 600,
  };
}
