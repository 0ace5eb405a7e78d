import { userName } from "@countersign/seal";
import type { Identity } from "countersign/identity/identity.ts";
import type { Grant } from "countersign/policy/grant.ts";
import fc from "fast-check";

/** One generated policy with one identity, and where to begin drawing subjects. */
export interface LawCase {
  readonly roles: readonly { readonly may: readonly string[]; readonly never: readonly string[] }[];
  readonly never: readonly string[];
  readonly id: string;
  readonly groups: readonly string[];
  readonly region: readonly string[];
  readonly entropy: number;
}

// Few tokens, so that patterns meet often; values that a careless template would let through as wildcards.
const literal = fc.constantFrom("a", "b", "c");
const template = fc.constantFrom("{user}", "{groups}", "{region}");
const value = fc.constantFrom("a", "b", "*", ">", "a.b", "_x", "ü", "");

const pattern = fc
  .tuple(
    fc.oneof({ weight: 5, arbitrary: fc.constantFrom("a", "b") }, { weight: 1, arbitrary: template }),
    fc.array(
      fc.oneof(
        { weight: 4, arbitrary: literal },
        { weight: 3, arbitrary: fc.constant("*") },
        { weight: 1, arbitrary: template },
      ),
      { maxLength: 3 },
    ),
    fc.boolean(),
  )
  .map(([first, others, rest]) => [first, ...others, ...(rest ? [">"] : [])].join("."));

/** Reading refuses a final `*` when it is parsed. */
const readable = pattern.map((text) => text.replace(/\*$/, ">"));

const queue = fc.constantFrom("", "", " queue q1", " queue q2");
const mayLine = fc.oneof(
  { weight: 4, arbitrary: pattern.map((text) => `publish ${text}`) },
  { weight: 1, arbitrary: pattern.map((text) => `request ${text}`) },
  { weight: 5, arbitrary: fc.tuple(pattern, queue).map(([text, q]) => `subscribe ${text}${q}`) },
  { weight: 1, arbitrary: fc.tuple(pattern, queue).map(([text, q]) => `respond ${text}${q}`) },
  { weight: 1, arbitrary: readable.map((text) => `read-stream S ${text}`) },
  { weight: 1, arbitrary: readable.map((text) => `read-stream S ${text} consumers [x, y]`) },
  { weight: 1, arbitrary: readable.map((text) => `read-kv K ${text}`) },
  { weight: 1, arbitrary: pattern.map((text) => `write-kv K ${text}`) },
);
const neverLine = fc.oneof(
  { weight: 3, arbitrary: pattern.map((text) => `publish ${text}`) },
  { weight: 4, arbitrary: pattern.map((text) => `subscribe ${text}`) },
  { weight: 1, arbitrary: pattern.map((text) => `respond ${text}`) },
  { weight: 1, arbitrary: readable.map((text) => `read-stream S ${text}`) },
  { weight: 1, arbitrary: readable.map((text) => `read-kv K ${text}`) },
  { weight: 1, arbitrary: pattern.map((text) => `write-kv K ${text}`) },
);

export const lawCase: fc.Arbitrary<LawCase> = fc.record({
  roles: fc.array(
    fc.record({
      may: fc.array(mayLine, { minLength: 1, maxLength: 5 }),
      never: fc.array(neverLine, { maxLength: 2 }),
    }),
    { minLength: 1, maxLength: 2 },
  ),
  never: fc.array(neverLine, { maxLength: 1 }),
  id: value.filter((text) => text !== ""),
  groups: fc.array(value, { maxLength: 3 }),
  region: fc.array(value, { maxLength: 1 }),
  entropy: fc.nat(),
});

/** Policies at the seams of nats-server's rules, which a few hundred generated ones may miss. */
export const SEAMS: readonly LawCase[] = [
  // Its own rules for queues: with and without one on patterns that include, equal and cross each other.
  [["subscribe a.*.c", "subscribe a.b.* queue q1"], []],
  [["subscribe a.b", "subscribe a.> queue q1"], []],
  [["subscribe a.>", "subscribe a.b queue q1"], []],
  [["subscribe a.>", "subscribe a.> queue q1", "respond a.b queue q1"], []],
  [["subscribe a.> queue q1"], ["subscribe a.b"]],
  // A final `*` is read as `>`.
  [["subscribe a.*"], []],
  [["subscribe a.*", "subscribe a.b.>"], []],
  [["subscribe a.*", "subscribe a.> queue q1"], []],
  [["subscribe a.* queue q1", "subscribe a.b.c queue q1"], []],
  // What is forbidden inside what is allowed: held whole, crossed, or as wide as the subscription itself.
  [["subscribe a.>"], ["subscribe a.*"]],
  [["subscribe a.>"], ["subscribe a.*.c"]],
  [["subscribe a.*.c"], ["subscribe a.b.>"]],
  [["subscribe a.>"], ["subscribe a.*.*.*"]],
  [["publish a.>", "request b"], ["publish a.*.c"]],
].flatMap(([may = [], never = []]) =>
  [1, 2, 3].map((entropy) => ({
    roles: [{ may, never }],
    never: [],
    id: "a",
    groups: [],
    region: [],
    entropy,
  })),
);

/** The policy of a case: a role for each line, since lines that conflict within one role are refused when read. */
export function policyText({ roles, never }: LawCase): string {
  const role = (section: string, line: string, number: number): string =>
    `  r${number}: { given-to: [ { issuer: demo } ], limits: { connections: 2 }, ${section}: [ ${JSON.stringify(line)} ] }`;
  const lines = roles.flatMap(({ may, never: forbidden }) => [
    ...may.map((line) => ["may", line] as const),
    ...forbidden.map((line) => ["never", line] as const),
  ]);
  return [
    "version: 1",
    "roles:",
    ...lines.map(([section, line], number) => role(section, line, number)),
    `never: ${JSON.stringify(never)}`,
  ].join("\n");
}

export function identityOf({ id, groups, region }: LawCase, now: number): Identity {
  return {
    user: userName("demo", id) ?? "",
    issuer: "demo",
    id,
    kind: "user",
    attributes: { groups, region },
    proof: { kind: "bearer", hash: "A".repeat(43) },
    provedAt: now,
    expiresAt: now + 86_400,
  };
}

/** Subjects and wildcard subjects around the patterns of a Grant: inside them, at their edges, just outside. */
export function drawSubjects(grant: Grant, entropy: number): { literals: string[]; wildcards: string[] } {
  const random = randomFrom(entropy);
  const patterns = [...grant.may, ...grant.never].map((line) => line.pattern).filter((text) => text !== "");
  const tokens = [...new Set(["a", "b", "c", ...patterns.flatMap((text) => text.split("."))])].filter(
    (token) => token !== "*" && token !== ">",
  );
  const literals = new Set<string>();
  const wildcards = new Set<string>();
  for (let draw = 0; draw < 40; draw++) {
    const base = patterns[random(patterns.length)] ?? "a";
    const filled = base.split(".").flatMap((token) => {
      if (token === ">")
        return Array.from({ length: 1 + random(2) }, () => tokens[random(tokens.length)] ?? "a");
      return [token === "*" || random(8) === 0 ? (tokens[random(tokens.length)] ?? "a") : token];
    });
    if (random(6) === 0) filled.push("c");
    if (random(8) === 0 && filled.length > 1) filled.pop();
    literals.add(filled.join("."));
    // A wildcard subject: some tokens opened, perhaps cut off into `>`.
    const opened = filled.map((token) => (random(3) === 0 ? "*" : token));
    if (random(2) === 0) opened.splice(1 + random(opened.length), opened.length, ">");
    if (opened.includes("*") || opened.includes(">")) wildcards.add(opened.join("."));
  }
  for (const text of patterns) if (/[*>]/.test(text)) wildcards.add(text);
  return { literals: [...literals], wildcards: [...wildcards].slice(0, 14) };
}

/** A small linear congruential generator: the same subjects for the same case. */
function randomFrom(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}
