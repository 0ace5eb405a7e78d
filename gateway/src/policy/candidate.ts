import { dirname, relative } from "node:path";
import { GatewayError } from "../errors.ts";
import type { EpochSeconds } from "../time.ts";
import { loadPolicyFiles } from "./load.ts";
import { checkIssuers, parsePolicy } from "./parse.ts";
import { formatMistake, type Policy, type PolicyFile } from "./policy.ts";
import { runPolicyTests, type TestResult } from "./run-tests.ts";

/** A policy that may go live: it parses, and passes its own tests. */
export type Candidate =
  | { readonly ok: true; readonly policy: Policy; readonly warnings: readonly string[] }
  /** Every mistake or failed test, one a line: `file:line:column: what`. */
  | { readonly ok: false; readonly mistakes: readonly string[] };

/** @param issuerNames  of the configuration; a role given through another one is worth a warning */
export function judgeCandidate(
  files: readonly PolicyFile[],
  issuerNames: readonly string[],
  now: EpochSeconds,
): Candidate {
  const parsed = parsePolicy(files);
  if (!parsed.ok) return { ok: false, mistakes: parsed.mistakes.map(formatMistake) };
  const { policy, warnings } = parsed;
  const failed = runTests(policy, now);
  if (failed.length > 0) return { ok: false, mistakes: failed };
  return {
    ok: true,
    policy,
    warnings: [...warnings, ...checkIssuers(policy, issuerNames)].map(formatMistake),
  };
}

function runTests(policy: Policy, now: EpochSeconds): readonly string[] {
  try {
    return runPolicyTests(policy, now)
      .filter(({ passed }) => !passed)
      .map(failureText);
  } catch (error) {
    // A grant that grows too large for one of the named identities.
    if (error instanceof GatewayError) return [error.message];
    throw error;
  }
}

function failureText({ file, line, column, as, action, expected }: TestResult): string {
  const found = expected === "allowed" ? "refused" : "allowed";
  return formatMistake({
    file,
    line,
    column,
    message: `test failed: as ${as}, "${action}" should be ${expected} and is ${found}`,
  });
}

/**
 * The files of a policy, named as records name a rule's place: by the policy's own folder, the same on every
 * machine that has it.
 *
 * @throws GatewayError POLICY_INVALID when they cannot be read
 */
export function readPolicyFiles(path: string): readonly PolicyFile[] {
  return loadPolicyFiles(path).map((file) => ({ ...file, path: relative(dirname(path), file.path) }));
}

/** @throws GatewayError POLICY_INVALID with every mistake, one a line */
export function loadCandidate(
  path: string,
  issuerNames: readonly string[],
  now: EpochSeconds,
): Extract<Candidate, { readonly ok: true }> {
  const candidate = judgeCandidate(readPolicyFiles(path), issuerNames, now);
  if (candidate.ok) return candidate;
  throw new GatewayError(
    "POLICY_INVALID",
    `Cannot use the policy "${path}":\n${candidate.mistakes.join("\n")}`,
  );
}
