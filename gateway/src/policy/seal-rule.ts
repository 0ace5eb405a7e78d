import { PatternTrie } from "./pattern-trie.ts";
import type { Policy, SubjectRule } from "./policy.ts";

/** How a message on a subject is sealed and recorded. */
export interface SealRule {
  readonly form: "tree" | "token";
  /** Whether its record must be on disk before the answer. */
  readonly durable: boolean;
}

const tries = new WeakMap<Policy, PatternTrie<SubjectRule>>();

/**
 * What the policy's `subjects` say of a literal subject. Each setting is taken from the most specific pattern
 * that makes it (literal before `*` before `>`, from the left), so that a pattern about seals inside one about
 * records does not undo it. Default: `seal: tree`, not durable. Under a microsecond.
 */
export function sealRuleOf(policy: Policy, subject: string): SealRule {
  const rules = trieOf(policy).matching(subject.split("."));
  return {
    form: rules.find(({ seal }) => seal !== undefined)?.seal ?? "tree",
    durable: rules.some(({ audit }) => audit === "durable"),
  };
}

function trieOf(policy: Policy): PatternTrie<SubjectRule> {
  const known = tries.get(policy);
  if (known) return known;
  const trie = new PatternTrie<SubjectRule>();
  for (const rule of policy.subjects) trie.put(rule.pattern, rule);
  tries.set(policy, trie);
  return trie;
}
