import assert from "node:assert/strict";
import { test } from "node:test";
import { GatewayError } from "../errors.ts";
import { compileGrant } from "./compile.ts";
import { formatGrantLine } from "./explain.ts";
import { grantOf, NOW, policyOf, roleOf, userOf } from "./testing/fixtures.ts";

function linesOf(
  may: readonly string[],
  attributes: Readonly<Record<string, readonly string[]>> = {},
): string[] {
  return grantOf(roleOf(may), attributes).may.map(formatGrantLine);
}

/** Roles that a `given-to` line gives to an identity. */
function rolesFor(given: string, identity: ReturnType<typeof userOf>, now: number = NOW): readonly string[] {
  const policy = policyOf(`version: 1\nroles:\n  r: { given-to: [ ${given} ], may: [ read-audit ] }\n`);
  return compileGrant(policy, identity, now).roles;
}

test("compileGrant() gives nothing to one whom no role is given", () => {
  const grant = grantOf(policyOf("version: 1"));
  assert.deepEqual([grant.may, grant.never, grant.roles], [[], [], []]);
  assert.deepEqual(grant.limits, { credentialSeconds: 600, payloadBytes: 1_044_480, connections: 20 });
});

test("compileGrant() asks that all of one line holds, and that one of several lines does", () => {
  const ann = userOf("ann", { groups: ["A", "B"] }, { acr: "mfa" });
  assert.deepEqual(rolesFor("{ issuer: demo, groups: A, acr: mfa }", ann), ["r"]);
  assert.deepEqual(rolesFor("{ issuer: demo, groups: A, acr: pwd }", ann), []);
  assert.deepEqual(rolesFor("{ issuer: demo, groups: [A, B] }", ann), ["r"]);
  assert.deepEqual(rolesFor("{ issuer: demo, groups: [A, C] }", ann), []);
  assert.deepEqual(rolesFor("{ issuer: demo, groups: C }, { issuer: demo, user: ann }", ann), ["r"]);
  assert.deepEqual(rolesFor("{ issuer: other, groups: A }", ann), []);
});

test("compileGrant() tells services from users, and believes a token that does not tell to be neither", () => {
  const service = userOf("inv", {}, { kind: "service", client: "inv" });
  const user = userOf("inv", {}, { client: "web" });
  const unknown = userOf("inv", {}, { kind: "unknown", client: "inv" });
  assert.deepEqual(rolesFor("{ issuer: demo, service: inv }", service), ["r"]);
  assert.deepEqual(rolesFor("{ issuer: demo, service: inv }", user), []);
  assert.deepEqual(rolesFor("{ issuer: demo, service: inv }", unknown), []);
  assert.deepEqual(rolesFor("{ issuer: demo, client: web }", user), ["r"]);
  assert.deepEqual(rolesFor("{ issuer: demo, client: inv }", service), []);
  assert.deepEqual(rolesFor("{ issuer: demo, client: inv }", unknown), []);
  // A client that bears a user's name is not that user.
  assert.deepEqual(rolesFor("{ issuer: demo, user: inv }", service), []);
  assert.deepEqual(rolesFor("{ issuer: demo, service: sa }", userOf("sa", {}, { kind: "service" })), ["r"]);
});

test("compileGrant() gives a role until its last line ends, and not from that moment on", () => {
  const line = (until: string): string => `{ issuer: demo, until: ${until} }`;
  const policy = policyOf(`version: 1
roles:
  a: { given-to: [ ${line("2026-12-31")}, ${line("2027-06-30T12:00:00+02:00")} ] }
  b: { given-to: [ ${line("2028-01-01")} ] }
`);
  const end = Date.parse("2027-06-30T10:00:00Z") / 1000;
  assert.equal(compileGrant(policy, userOf("ann"), NOW).until, end);
  assert.deepEqual(compileGrant(policy, userOf("ann"), end - 1).roles, ["a", "b"]);
  assert.deepEqual(compileGrant(policy, userOf("ann"), end).roles, ["b"]);
  const lastDay = Date.parse("2028-01-01T23:59:59Z") / 1000;
  assert.deepEqual(compileGrant(policy, userOf("ann"), lastDay).roles, ["b"]);
  assert.deepEqual(compileGrant(policy, userOf("ann"), lastDay + 1).roles, []);
});

test("compileGrant() fills a template with exactly one token, whatever the value", () => {
  const may = ["publish orders.{region}.create"];
  assert.deepEqual(linesOf(may, { region: ["eu"] }), ["publish orders.eu.create"]);
  assert.deepEqual(linesOf(may, { region: ["*"] }), ["publish orders.=2A.create"]);
  assert.deepEqual(linesOf(may, { region: [">"] }), ["publish orders.=3E.create"]);
  assert.deepEqual(linesOf(may, { region: ["a.b"] }), ["publish orders.a=2Eb.create"]);
  assert.deepEqual(linesOf(["publish {region}.x"], { region: ["_INBOX"] }), ["publish =5FINBOX.x"]);
  assert.deepEqual(linesOf(["publish {region}.x"], { region: ["$JS"] }), ["publish =24JS.x"]);
  assert.deepEqual(linesOf(["publish a.{user}"]), ["publish a.demo-alice"]);
});

test("compileGrant() grants nothing by {user} to a user whose name is no token", () => {
  for (const user of ["*", ">", "demo-*", "a.b", "", "demo", "-x", "_INBOX-x", "demo-a b"]) {
    assert.deepEqual(
      compileGrant(roleOf(["publish a.{user}"]), { ...userOf("ann"), user }, NOW).may,
      [],
      user,
    );
  }
});

test("compileGrant() makes one line per value of a list, and the same value wherever the template stands", () => {
  const groups = ["A", "B"];
  assert.deepEqual(linesOf(["publish a.{groups}.{groups}"], { groups }), ["publish a.A.A", "publish a.B.B"]);
  assert.deepEqual(linesOf(["publish {groups}.{region}"], { groups, region: ["eu", "us"] }), [
    "publish A.eu",
    "publish B.eu",
    "publish A.us",
    "publish B.us",
  ]);
});

test("compileGrant() grants nothing by a line whose attribute is missing, empty or no token", () => {
  const may = ["publish orders.{region}.create"];
  assert.deepEqual(linesOf(may), []);
  assert.deepEqual(linesOf(may, { region: [] }), []);
  assert.deepEqual(linesOf(may, { region: [""] }), []);
  assert.deepEqual(linesOf(may, { region: ["\ud800"] }), []);
  assert.deepEqual(linesOf(may, { region: ["x".repeat(201)] }), []);
  // What every object inherits is no attribute of anybody.
  const inherited = userOf("ann", {}, { attributes: {} });
  assert.deepEqual(
    compileGrant(roleOf(["publish a.{constructor}", "publish a.{toString}"]), inherited, NOW).may,
    [],
  );
});

test("compileGrant() keeps a never whose attribute is missing: it then forbids every value", () => {
  const policy = roleOf(["publish orders.>"], ["publish orders.{region}.delete"]);
  assert.deepEqual(grantOf(policy).never.map(formatGrantLine), ["publish orders.*.delete"]);
  assert.deepEqual(grantOf(policy, { region: ["eu", ""] }).never.map(formatGrantLine), [
    "publish orders.*.delete",
  ]);
  assert.deepEqual(grantOf(policy, { region: ["eu"] }).never.map(formatGrantLine), [
    "publish orders.eu.delete",
  ]);
});

test("compileGrant() grants nothing at all when a never cannot be filled in its first token", () => {
  const policy = roleOf(["publish orders.>"], ["publish {tenant}.secret"]);
  assert.deepEqual(grantOf(policy).may, []);
  assert.deepEqual(grantOf(policy, { tenant: ["t1"] }).may.map(formatGrantLine), ["publish orders.>"]);
});

test("compileGrant() takes the largest of each limit and the shortest credential, of the roles given", () => {
  const policy = policyOf(`version: 1
roles:
  a: { given-to: [ { issuer: demo } ], limits: { credential: 5m, payload: 1KiB, rate: 10/s } }
  b: { given-to: [ { issuer: demo } ], limits: { credential: 20m, payload: 2KiB, connections: 3 } }
  c: { given-to: [ { issuer: other } ], limits: { credential: 30s, payload: 8MiB, rate: 1000/s } }
  d: { given-to: [ { issuer: demo } ] }
`);
  assert.deepEqual(grantOf(policy).limits, {
    credentialSeconds: 300,
    payloadBytes: 2_048,
    ratePerSecond: 10,
    connections: 3,
  });
});

test("compileGrant() withholds what is read when a never overlaps it, and names both", () => {
  const grant = grantOf(
    roleOf(
      ["read-stream S a.>", "read-stream T a.>", "read-kv K a.b", "read-audit"],
      ["read-stream S a.b", "read-kv K a.>", "read-audit"],
    ),
  );
  assert.deepEqual(grant.may.map(formatGrantLine), ["read-stream T a.>"]);
  assert.deepEqual(
    grant.withheld?.map(({ line, why, because }) => [
      formatGrantLine(line),
      why,
      because.map(({ text }) => text),
    ]),
    [
      ["read-stream S a.>", "never_overlaps", ["read-stream S a.b"]],
      ["read-kv K a.b", "never_overlaps", ["read-kv K a.>"]],
      ["read-audit", "never_overlaps", ["read-audit"]],
    ],
  );
});

test("compileGrant() withholds a direct connection when nats-server could not keep to the lines, and names them", () => {
  const withheldBy = (may: readonly string[], never: readonly string[] = []): unknown =>
    grantOf(roleOf([...may, "connect native", "connect direct", "connect mqtt"], never)).withheld?.map(
      ({ line, because }) => [formatGrantLine(line), because.map(({ text }) => text)],
    );
  const below = ["subscribe a.*", "subscribe a.b.c"];
  assert.deepEqual(withheldBy(below), [
    ["connect direct", below],
    ["connect mqtt", below],
  ]);
  assert.equal(withheldBy(["subscribe a.*", "subscribe a.>"]), undefined);
  assert.equal(withheldBy(["subscribe a.*", "publish a.b.c"]), undefined);
  // Whether this is filtered depends on the nats-server: see holesOf.
  assert.deepEqual(withheldBy(["subscribe a.>"], ["subscribe a.*.x"]), [
    ["connect direct", ["subscribe a.>", "subscribe a.*.x"]],
    ["connect mqtt", ["subscribe a.>", "subscribe a.*.x"]],
  ]);
  assert.equal(withheldBy(["subscribe a.>"], ["subscribe a.b.x"]), undefined);
});

test("compileGrant() withholds a queue that overlaps a plain subscription on another pattern", () => {
  // Within one role it would be refused when it is read; two roles may come together in one identity.
  const role = (line: string): string => `{ given-to: [ { issuer: demo } ], may: [ ${line} ] }`;
  const grant = grantOf(
    policyOf(`version: 1
roles:
  r: ${role("subscribe a.*.c")}
  s: ${role("subscribe a.b.* queue q")}
  t: ${role("subscribe a.> queue r")}
`),
  );
  assert.deepEqual(grant.may.map(formatGrantLine), ["subscribe a.*.c", "subscribe a.> queue r"]);
  assert.equal(grant.withheld?.[0]?.why, "queue_conflict");
});

test("compileGrant() refuses, by name, a Grant that templates make too large", () => {
  const groups = Array.from({ length: 4_001 }, (_, number) => `g${number}`);
  const compile = (): unknown => grantOf(roleOf(["publish a.{groups}"]), { groups });
  assert.throws(compile, (error) => error instanceof GatewayError && error.code === "POLICY_INVALID");
  assert.throws(
    compile,
    /Cannot compile the grant of demo-alice: more than 4000 lines; .* p\.yaml:5 "publish a\.\{groups\}"/,
  );
  // Refused before 27 million lines are made.
  const many = groups.slice(0, 300);
  const started = performance.now();
  assert.throws(
    () => grantOf(roleOf(["publish {a}.{b}.{c}"]), { a: many, b: many, c: many }),
    /more than 4000 lines/,
  );
  assert(performance.now() - started < 1_000, "in bounded time");
  // 80 permissions for every line that reads a stream through 20 consumers.
  const streams = Array.from({ length: 120 }, (_, number) => `read-stream S${number} a.>`);
  assert.throws(() => grantOf(roleOf(streams)), /more than 8000 NATS permissions/);
});

test("compileGrant() gives the same hash as long as nats-server would be told the same", () => {
  const hash = (policy: ReturnType<typeof roleOf>): string => grantOf(policy).hash;
  const one = roleOf(["publish a.b"]);
  assert.match(hash(one), /^[A-Za-z0-9_-]{43}$/);
  assert.equal(hash(one), hash(roleOf(["publish a.b"], ["publish z.z"])));
  assert.equal(hash(one), hash(roleOf(["publish a.b", "read-audit"])));
  assert.notEqual(hash(one), hash(roleOf(["publish a.b", "publish a.c"])));
  assert.notEqual(hash(one), hash(roleOf(["publish a.b"], ["publish a.*"])));
  assert.notEqual(hash(one), hash(roleOf(["publish a.b", "connect direct"])));
  assert.notEqual(hash(one), hash(roleOf(["publish a.b"], [], "    limits: { credential: 1m }\n")));
});

test("compileGrant() makes plain data", () => {
  const grant = grantOf(roleOf(["publish a.b", "read-stream S a.> consumers [x]"], ["publish a.c"]));
  assert.deepEqual(JSON.parse(JSON.stringify(grant)), grant);
});
