import assert from "node:assert/strict";
import { test } from "node:test";
import { mistakesIn, warningsIn } from "./testing/fixtures.ts";

const ROLE = "version: 1\nroles:\n  r:\n    given-to: [ { issuer: demo } ]\n    may:\n";

test("parsePolicy() warns of roles given to nobody", () => {
  assert.deepEqual(warningsIn("version: 1\nroles: { r: { given-to: [], may: [ read-audit ] } }"), [
    '2 role "r" is given to nobody',
  ]);
});

test("parsePolicy() warns of lines that can never apply", () => {
  const warnings = warningsIn(`${ROLE}
      - publish orders.eu.1
      - request orders.eu.1
      - publish orders.*.2
      - publish orders.{region}.2
      - read-stream S a.>
      - read-kv K b.x
      - read-audit
    never: [ publish orders.eu.*, read-stream S a.b, read-kv K a.>, 'publish orders.{region}.2' ]
never: [ read-audit ]
`);
  assert.deepEqual(warnings, [
    '7 "publish orders.eu.1" can never apply: "publish orders.eu.*" (p.yaml:14) forbids it',
    '8 "request orders.eu.1" can never apply: "publish orders.eu.*" (p.yaml:14) forbids it',
    '10 "publish orders.{region}.2" can never apply: "publish orders.{region}.2" (p.yaml:14) forbids it',
    '11 "read-stream S a.>" can never apply: "read-stream S a.b" (p.yaml:14) forbids it',
    '13 "read-audit" can never apply: "read-audit" (p.yaml:15) forbids it',
    '10 "{region}" here and "eu" of "publish orders.eu.1" (p.yaml:7) fill the same position: a value may spell the other',
  ]);
});

test("parsePolicy() warns of lines that several nevers forbid together", () => {
  const warnings = warningsIn(`${ROLE}      - publish a.>\n    never: [ publish a.*, publish a.*.> ]\n`);
  assert.equal(warnings.length, 1);
});

test("parsePolicy() warns where a template and a literal, or two templates, fill the same position", () => {
  const same = (lines: readonly string[]): number =>
    warningsIn(`${ROLE}${lines.map((line) => `      - ${line}\n`).join("")}`).length;
  assert.equal(same(["publish a.{region}.x", "publish a.all.y"]), 1);
  assert.equal(same(["publish a.{region}.x", "publish a.{group}.x"]), 1);
  assert.equal(same(["publish {tenant}.x", "subscribe orders.x"]), 0);
  assert.equal(same(["publish {tenant}.x", "publish orders.x"]), 1);
  // A user's name has a dash in it, and values are escaped: these never meet.
  assert.equal(same(["publish a.{user}.x", "publish a.all.y"]), 0);
  assert.equal(same(["publish a.{user}.x", "publish a.demo-all.y"]), 1);
  assert.equal(same(["publish a.{region}.x", "publish a.b/c.y"]), 0);
});

test("parsePolicy() warns of lines that grant every combination of two lists", () => {
  assert.deepEqual(
    warningsIn(
      `${ROLE}      - publish {groups}.{sites}\nidentities: { a: { issuer: demo, user: a, sites: [x, y], groups: [A] } }`,
    ),
    ['6 "publish {groups}.{sites}" grants every combination of the lists groups and sites, not only pairs'],
  );
  assert.deepEqual(warningsIn(`${ROLE}      - publish {groups}.{region}\n`), []);
});

test("parsePolicy() refuses subscriptions with and without a queue on overlapping but different patterns", () => {
  const lines = "      - subscribe a.>\n      - subscribe a.b queue q\n";
  assert.match(
    mistakesIn(ROLE + lines)[0] ?? "",
    /^7:1 "subscribe a\.b queue q" and "subscribe a\.>" \(p\.yaml:6\) overlap/,
  );
  assert.deepEqual(mistakesIn(`${ROLE}      - subscribe a.>\n      - subscribe a.> queue q\n`), []);
});

test("parsePolicy() refuses such subscriptions also in two roles that a named identity has both", () => {
  const roles = `version: 1
roles:
  r: { given-to: [ { issuer: demo, groups: A } ], may: [ subscribe a.> ] }
  s: { given-to: [ { issuer: demo, groups: B } ], may: [ subscribe a.b queue q ] }
`;
  assert.deepEqual(mistakesIn(roles), []);
  const named = "identities: { ann: { issuer: demo, user: ann, groups: [A, B] } }\n";
  assert.match(mistakesIn(roles + named)[0] ?? "", /^4:1 "subscribe a\.b queue q" and "subscribe a\.>"/);
});

test("parsePolicy() warns of a direct connection that a named identity does not get, and names both lines", () => {
  const lines = "      - subscribe a.*\n      - subscribe a.b.c\n      - connect direct\n";
  const named = "identities: { ann: { issuer: demo, user: ann } }\n";
  assert.deepEqual(warningsIn(ROLE + lines + named), [
    '8 "connect direct" is withheld from whoever has "subscribe a.*" (p.yaml:6) and "subscribe a.b.c" (p.yaml:7): nats-server could not keep a client that connects by itself to them',
  ]);
});

test("parsePolicy() refuses a policy under which a named identity's grant cannot be compiled", () => {
  const streams = Array.from({ length: 120 }, (_, number) => `      - read-stream S${number} a.>\n`).join("");
  const named = "identities: { ann: { issuer: demo, user: ann } }\n";
  assert.match(mistakesIn(ROLE + streams + named)[0] ?? "", /^126:1 Cannot compile the grant of demo-ann/);
});
