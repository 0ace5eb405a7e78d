import assert from "node:assert/strict";
import { test } from "node:test";
import type { Identity } from "../identity/identity.ts";
import { parseAction } from "./action.ts";
import { compileGrant } from "./compile.ts";
import { decide } from "./decide.ts";
import { formatGrantLine } from "./explain.ts";
import type { Grant } from "./grant.ts";
import { NOW, policyOf, userOf } from "./testing/fixtures.ts";

const POLICY = `version: 1
roles:
  clerk:
    given-to: [ { issuer: demo, groups: Clerks } ]
    may:
      - publish orders.{region}.*.create
      - request inventory.check
      - read-stream ORDERS orders.{region}.> consumers [mine, agent]
      - read-stream ORDERS orders.{region}.>
      - read-kv carts {user}.>
      - read-audit
    never: [ publish orders.*.7.create ]
    limits: { credential: 10m, payload: 64KiB, rate: 50/s, connections: 5 }
  boss:
    given-to: [ { issuer: demo, groups: Bosses } ]
    may: [ publish orders.> ]
  agent:
    given-to: [ { issuer: demo, service: agent, until: 2026-12-31 } ]
    acts-for: [ clerk ]
    may:
      - publish orders.*.4711.>
      - publish inventory.>
      - publish elsewhere
      - read-stream ORDERS orders.> consumers [agent]
      - read-stream ORDERS orders.>
      - read-kv carts {user}.1
    limits: { credential: 20m, payload: 1KiB }
`;

function acting(groups: readonly string[], actor = "demo-agent", policy = POLICY): Grant {
  const user: Identity = userOf("ann", { groups, region: ["eu"] }, { actor: { user: actor } });
  return compileGrant(policyOf(policy), user, NOW);
}

test("compileGrant() grants one who acts for a user only what both may do", () => {
  const grant = acting(["Clerks"]);
  assert.equal(grant.user, "demo-ann");
  assert.deepEqual(grant.roles, ["agent"]);
  assert.deepEqual(grant.may.map(formatGrantLine), [
    "publish orders.eu.4711.create",
    // The user's request is more than a publish; what both have is the publish.
    "publish inventory.check",
    "read-stream ORDERS orders.eu.> consumers [agent]",
    "read-kv carts demo-ann.1",
  ]);
});

test("compileGrant() grants no more than was asked for: own, and the user's, and asked", () => {
  const grant = (asked: readonly string[], actor?: string): readonly string[] => {
    const user = userOf(
      "ann",
      { groups: ["Clerks"], region: ["eu"] },
      actor ? { actor: { user: actor } } : {},
    );
    return compileGrant(policyOf(POLICY), { ...user, asked }, NOW).may.map(formatGrantLine);
  };
  assert.deepEqual(grant(["publish orders.>", "publish inventory.check"], "demo-agent"), [
    "publish orders.eu.4711.create",
    "publish inventory.check",
  ]);
  assert.deepEqual(grant(["publish orders.eu.1.>"]), ["publish orders.eu.1.create"]);
  assert.deepEqual(grant(["publish orders.us.>", "subscribe orders.>", "publish >", "nonsense"]), []);
  assert.deepEqual(grant([]), []);
});

test("compileGrant() narrows an actor to the roles it acts for, whatever else the user may do", () => {
  assert.deepEqual(acting(["Bosses"]).may, []);
  const both = acting(["Bosses", "Clerks"]);
  const action = parseAction("publish orders.us.4711.x");
  assert(action.ok && !decide(both, action.value).ok);
});

test("compileGrant() holds an actor to every never of the user, to the smaller limits and to the nearer end", () => {
  const grant = acting(["Clerks"]);
  assert.deepEqual(grant.never.map(formatGrantLine), ["publish orders.*.7.create"]);
  assert.deepEqual(grant.limits, {
    credentialSeconds: 600,
    payloadBytes: 1_024,
    ratePerSecond: 50,
    connections: 5,
  });
  assert.equal(grant.until, Date.parse("2027-01-01T00:00:00Z") / 1000);
});

test("compileGrant() gives an actor nothing that is unknown, ill-named or no service", () => {
  for (const actor of ["demo-other", "other-agent", "agent", "", "demo-=61gent"]) {
    assert.deepEqual(acting(["Clerks"], actor).may, [], actor);
  }
  const userOnly = POLICY.replace("service: agent,", "user: agent,");
  assert.deepEqual(acting(["Clerks"], "demo-agent", userOnly).may, []);
});

test("compileGrant() gives a role with acts-for to nobody who acts for itself", () => {
  const agent = userOf("agent", { groups: ["Clerks"], region: ["eu"] }, { kind: "service", client: "agent" });
  assert.deepEqual(compileGrant(policyOf(POLICY), agent, NOW).roles, ["clerk"]);
});

test("compileGrant() takes an actor named in the policy's identities for that service", () => {
  const policy = policyOf(`${POLICY}identities:
  agent: { issuer: demo, service: agent }
  ann-by-agent: { issuer: demo, user: ann, groups: [Clerks], region: eu, actor: agent }
tests:
  - { as: ann-by-agent, allowed: [ publish orders.eu.4711.create ], refused: [ publish orders.eu.1.create ] }
`);
  assert.deepEqual(policy.identities[1]?.identity.actor, { user: "demo-agent" });
});
