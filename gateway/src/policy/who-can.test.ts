import assert from "node:assert/strict";
import { test } from "node:test";
import { parseAction } from "./action.ts";
import { policyOf } from "./testing/fixtures.ts";
import { whoCan } from "./who-can.ts";

const POLICY = policyOf(`version: 1
roles:
  clerk:
    given-to: [ { issuer: demo, groups: Clerks }, { issuer: demo, user: ann } ]
    may:
      - publish orders.{region}.create
      - request check
      - subscribe notices.{user}.>
      - subscribe work.> queue q
      - read-stream S a.> consumers [x]
      - publish pair.{region}.{region}
      - connect direct
  chief: { given-to: [], may: [ publish orders.> ], never: [ publish orders.eu.delete ] }
  agent: { given-to: [ { issuer: demo, service: agent } ], acts-for: [ clerk ], may: [ read-kv K > ] }
never: [ publish orders.eu.void ]
`);

/** Each way to the action as `role: conditions`, and after them who forbids it. */
function ways(text: string): readonly string[] {
  const action = parseAction(text);
  assert(action.ok, text);
  const { reaches, never } = whoCan(POLICY, action.value);
  return [
    ...reaches.map(({ role, where }) =>
      [role, ...where.map(({ name, value }) => `${name}=${value}`)].join(" "),
    ),
    ...never.map(({ role }) => `never ${role ?? "all"}`),
  ];
}

test("whoCan() names the roles and the values that their templates must have", () => {
  assert.deepEqual(ways("publish orders.eu.create"), ["clerk region=eu", "chief"]);
  assert.deepEqual(ways("publish orders.a=2Eb.create"), ["clerk region=a.b", "chief"]);
  assert.deepEqual(ways("subscribe notices.demo-ann.x"), ["clerk user=demo-ann"]);
  assert.deepEqual(ways("publish pair.eu.eu"), ["clerk region=eu"]);
  assert.deepEqual(ways("publish check"), ["clerk"]);
  assert.deepEqual(ways("read-stream S a.b consumers [x]"), ["clerk"]);
  assert.deepEqual(ways("subscribe work.1 queue q"), ["clerk"]);
  assert.deepEqual(ways("connect direct"), ["clerk"]);
  assert.deepEqual(ways("read-kv K a"), ["agent"]);
});

test("whoCan() names nobody where no value could make the subject", () => {
  assert.deepEqual(ways("publish pair.eu.us"), []);
  assert.deepEqual(ways("subscribe notices.nobody.x"), []);
  assert.deepEqual(ways("subscribe notices.*.x"), []);
  assert.deepEqual(ways("publish pair.=61.=61"), []);
  assert.deepEqual(ways("subscribe work.1"), []);
  assert.deepEqual(ways("read-stream S a.b"), []);
  assert.deepEqual(ways("connect mqtt"), []);
  assert.deepEqual(ways("push-policy"), []);
});

test("whoCan() names who forbids it: everybody, or those who have a role", () => {
  assert.deepEqual(ways("publish orders.eu.void"), ["never all"]);
  assert.deepEqual(ways("request orders.eu.void"), ["never all"]);
  assert.deepEqual(ways("publish orders.eu.delete"), ["never chief"]);
});

test("whoCan() says to whom a role is given, and for whom it acts", () => {
  const { reaches } = whoCan(POLICY, { verb: "request", subject: "check" });
  assert.deepEqual(reaches[0]?.givenTo, ["{ issuer: demo, groups: Clerks }", "{ issuer: demo, user: ann }"]);
  assert.deepEqual(whoCan(POLICY, { verb: "read-kv", bucket: "K", key: "a" }).reaches[0]?.actsFor, ["clerk"]);
});
