import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { decide } from "./decide.ts";
import { diffPolicies } from "./diff.ts";
import { grantOf, policyOf, roleOf } from "./testing/fixtures.ts";

const SEED = Number(process.env.FUZZ_SEED ?? Math.floor(Math.random() * 2 ** 31));

/** What changes from one policy to the other, each with `+` where it widens. */
function changes(before: string, after: string): readonly string[] {
  const { roles } = diffPolicies(policyOf(`version: 1\n${before}`), policyOf(`version: 1\n${after}`));
  return roles.flatMap(({ role, changes: all }) =>
    all.map(({ what, text, wider }) => `${wider ? "+" : "-"} ${role ?? "all"}: ${what} ${text}`),
  );
}

function role(lines: string, given = "{ issuer: demo }"): string {
  return `roles: { r: { given-to: [ ${given} ]${lines === "" ? "" : `, ${lines}`} } }`;
}

test("diffPolicies() finds no difference in the same access written otherwise", () => {
  assert.deepEqual(
    changes(
      role("may: [ publish a.b, publish a.> ], never: [ publish a.x ]"),
      role("may: [ publish a.*, publish a.*.> ], never: [ publish a.x, publish a.x ]"),
    ),
    [],
  );
});

test("diffPolicies() names exactly what a role gains and loses", () => {
  assert.deepEqual(
    changes(
      role("may: [ 'publish orders.{region}.*', subscribe a, 'read-kv K {user}.>', read-audit ]"),
      role("may: [ publish orders.*.*, subscribe a queue q, read-kv K a, push-policy ]"),
    ),
    [
      "+ r: gained publish orders.*.* except orders.{region}.*",
      "+ r: gained subscribe a queue q",
      "+ r: gained read-kv K a",
      "- r: lost read-kv K {user}.>",
      "+ r: gained push-policy",
      "- r: lost subscribe a",
      "- r: lost read-audit",
    ],
  );
});

test("diffPolicies() counts a request as a publish and more, and a response as a subscription and more", () => {
  assert.deepEqual(changes(role("may: [ publish a ]"), role("may: [ request a ]")), [
    "+ r: gained request a",
  ]);
  assert.deepEqual(changes(role("may: [ respond a ]"), role("may: [ subscribe a ]")), [
    "- r: lost respond a",
  ]);
});

test("diffPolicies() takes what is forbidden from what is granted, and reads as withheld whole", () => {
  assert.deepEqual(
    changes(
      role("may: [ publish a.>, read-stream S a.> ]"),
      `${role("may: [ publish a.>, read-stream S a.> ]")}\nnever: [ request a.b, read-stream S a.b ]`,
    ),
    [
      "- all: forbidden publish a.b",
      "- all: forbidden read-stream S a.b",
      "- r: lost publish a.b",
      "- r: lost read-stream S a.>",
    ],
  );
});

test("diffPolicies() calls it wider when a role stops forbidding, since its holders have other roles too", () => {
  assert.deepEqual(changes(role("never: [ publish a ]"), role("")), ["+ r: no-longer-forbidden publish a"]);
  assert.deepEqual(changes(role("never: [ publish a ]"), role("never: [ publish a.>, publish a ]")), [
    "- r: forbidden publish a.>",
  ]);
});

test("diffPolicies() calls it wider when a role is given to more, or for longer", () => {
  const given = (before: string, after: string): readonly string[] =>
    changes(role("", before), role("", after));
  const strict = "{ issuer: demo, groups: [A, B], acr: mfa, until: 2026-12-31 }";
  const loose = "{ issuer: demo, groups: A }";
  assert.deepEqual(given(loose, `${loose}, ${strict}`), []);
  assert.deepEqual(given(strict, loose), [`+ r: given ${loose}`]);
  assert.deepEqual(given(loose, strict), [`- r: taken ${loose}`]);
  const later = strict.replace("2026", "2027");
  assert.deepEqual(given(strict, later), [`+ r: given ${later}`]);
  assert.deepEqual(given("{ issuer: demo, user: a }", "{ issuer: other, user: a }"), [
    "+ r: given { issuer: other, user: a }",
    "- r: taken { issuer: demo, user: a }",
  ]);
});

test("diffPolicies() calls it wider when limits rise or are left to others, or a role acts for more", () => {
  assert.deepEqual(
    changes(role("limits: { rate: 5/s, connections: 3 }"), role("limits: { rate: 6/s, connections: 2 }")),
    ["+ r: limit rate 5/s → 6/s", "- r: limit connections 3 → 2"],
  );
  assert.deepEqual(changes(role("limits: { rate: 5/s }"), role("")), ["+ r: limit rate 5/s → as others say"]);
  assert.deepEqual(
    changes(
      role("limits: { credential: 600s, payload: 65536B }"),
      role("limits: { credential: 90s, payload: 1MiB }"),
    ),
    ["- r: limit credential 10m → 90s", "+ r: limit payload 64KiB → 1MiB"],
  );
  assert.deepEqual(changes(role("acts-for: [ r ]"), role("")), ["+ r: acts-for no longer acts for r"]);
  assert.deepEqual(changes(role(""), role("acts-for: [ r ]")), ["+ r: acts-for acts for r"]);
});

const pattern = fc
  .tuple(fc.constantFrom("a", "b"), fc.array(fc.constantFrom("a", "b", "*"), { maxLength: 2 }), fc.boolean())
  .map(([first, others, rest]) => [first, ...others, ...(rest ? [">"] : [])].join("."));
const line = fc.tuple(fc.constantFrom("publish", "subscribe"), pattern).map((words) => words.join(" "));
const lines = fc.array(line, { maxLength: 4 });
const subject = fc
  .array(fc.constantFrom("a", "b", "c"), { minLength: 1, maxLength: 4 })
  .map((tokens) => tokens.join("."));

test("diffPolicies() never says not wider of a policy under which decide() allows more", (t) => {
  t.diagnostic(`FUZZ_SEED=${SEED}`);
  fc.assert(
    fc.property(lines, lines, lines, lines, fc.array(subject), (may, never, newMay, newNever, subjects) => {
      const [before, after] = [roleOf(may, never), roleOf(newMay, newNever)];
      const { wider } = diffPolicies(before, after);
      const [was, is] = [grantOf(before), grantOf(after)];
      for (const verb of ["publish", "subscribe"] as const) {
        for (const one of subjects) {
          const gained = decide(is, { verb, subject: one }).ok && !decide(was, { verb, subject: one }).ok;
          assert(wider || !gained, `${verb} ${one}`);
        }
      }
    }),
    { seed: SEED, numRuns: 500 },
  );
});
