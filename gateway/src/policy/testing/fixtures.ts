import assert from "node:assert/strict";
import { userName } from "@countersign/seal";
import type { Identity } from "../../identity/identity.ts";
import { compileGrant } from "../compile.ts";
import type { Grant } from "../grant.ts";
import { parsePolicy } from "../parse.ts";
import { formatMistake, type Policy } from "../policy.ts";

export const NOW = 1_790_000_000;

/** A policy that can be read, of one file named `p.yaml`. */
export function policyOf(text: string): Policy {
  const parsed = parsePolicy([{ path: "p.yaml", text }]);
  assert(parsed.ok, parsed.ok ? "" : parsed.mistakes.map(formatMistake).join("\n"));
  return parsed.policy;
}

/** A policy of one role that everybody of issuer `demo` has. */
export function roleOf(may: readonly string[], never: readonly string[] = [], more = ""): Policy {
  const lists = `may: ${JSON.stringify(may)}\n    never: ${JSON.stringify(never)}`;
  return policyOf(`version: 1\nroles:\n  r:\n    given-to: [ { issuer: demo } ]\n    ${lists}\n${more}`);
}

/** What is wrong with a policy, each as `line:column message`. */
export function mistakesIn(text: string): readonly string[] {
  const parsed = parsePolicy([{ path: "p.yaml", text }]);
  return parsed.ok ? [] : parsed.mistakes.map(({ line, column, message }) => `${line}:${column} ${message}`);
}

export function warningsIn(text: string): readonly string[] {
  const parsed = parsePolicy([{ path: "p.yaml", text }]);
  assert(parsed.ok, parsed.ok ? "" : parsed.mistakes.map(formatMistake).join("\n"));
  return parsed.warnings.map(({ line, message }) => `${line} ${message}`);
}

/** A user of issuer `demo`, proved now. */
export function userOf(
  id: string,
  attributes: Readonly<Record<string, readonly string[]>> = {},
  more: Partial<Identity> = {},
): Identity {
  const user = userName("demo", id);
  assert(user !== undefined, "the id fits into a user's name");
  return {
    user,
    issuer: "demo",
    id,
    kind: "user",
    attributes: Object.assign(Object.create(null), attributes),
    proof: { kind: "bearer", hash: "A".repeat(43) },
    provedAt: NOW,
    expiresAt: NOW + 600,
    ...more,
  };
}

export function grantOf(
  policy: Policy,
  attributes: Readonly<Record<string, readonly string[]>> = {},
  id = "alice",
): Grant {
  return compileGrant(policy, userOf(id, attributes), NOW);
}
