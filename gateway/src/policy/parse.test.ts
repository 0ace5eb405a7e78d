import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import fc from "fast-check";
import { parse } from "yaml";
import { checkIssuers, parsePolicy, versionOf } from "./parse.ts";
import { fitsSchema } from "./schema.ts";
import { mistakesIn, policyOf } from "./testing/fixtures.ts";

const DEVSTACK = readFileSync(new URL("../../../devstack/policy.yaml", import.meta.url), "utf8");
const SEED = Number(process.env.FUZZ_SEED ?? Math.floor(Math.random() * 2 ** 31));

test("parsePolicy() reads the whole language", () => {
  const policy = policyOf(`version: 1
subjects:
  payments.>: { seal: token, audit: durable }
roles:
  clerk:
    given-to:
      - { issuer: entra, groups: [Clerks, Staff], acr: mfa, until: 2026-12-31, region: eu }
      - { issuer: iis, user: 'CORP\\ann' }
      - { issuer: entra, client: app }
    may:
      - publish orders.{region}.*.create
      - read-stream ORDERS orders.{region}.> consumers [billing, cashier]
      - subscribe orders.> queue workers
    never: [ publish orders.*.delete ]
    limits: { credential: 10m, payload: 64KiB, rate: 50/s, connections: 5 }
  agent:
    given-to: [ { issuer: entra, service: agent } ]
    acts-for: [ clerk ]
never: [ publish payments.*.void ]
identities:
  alice: { issuer: entra, user: alice, groups: [Clerks], name: Alice, acr: mfa }
tests:
  - { as: alice, allowed: [ publish orders.eu.1.create ], refused: [ read-audit ] }
`);
  const [clerk, agent] = policy.roles;
  assert.deepEqual(clerk?.givenTo, [
    {
      issuer: "entra",
      acr: "mfa",
      until: Date.parse("2027-01-01T00:00:00Z") / 1000,
      attributes: [
        { name: "groups", values: ["Clerks", "Staff"] },
        { name: "region", values: ["eu"] },
      ],
      rule: {
        role: "clerk",
        text: "{ issuer: entra, groups: [Clerks, Staff], acr: mfa, until: 2026-12-31, region: eu }",
        file: "p.yaml",
        line: 7,
      },
    },
    {
      issuer: "iis",
      user: "CORP\\ann",
      attributes: [],
      rule: { role: "clerk", text: "{ issuer: iis, user: 'CORP\\ann' }", file: "p.yaml", line: 8 },
    },
    {
      issuer: "entra",
      client: "app",
      attributes: [],
      rule: { role: "clerk", text: "{ issuer: entra, client: app }", file: "p.yaml", line: 9 },
    },
  ]);
  assert.deepEqual(clerk.may[1], {
    verb: "read-stream",
    stream: "ORDERS",
    pattern: "orders.{region}.>",
    consumers: ["billing", "cashier"],
    rule: {
      role: "clerk",
      text: "read-stream ORDERS orders.{region}.> consumers [billing, cashier]",
      file: "p.yaml",
      line: 12,
    },
  });
  assert.deepEqual(clerk.limits, {
    credentialSeconds: 600,
    payloadBytes: 65_536,
    ratePerSecond: 50,
    connections: 5,
  });
  assert.deepEqual(agent?.actsFor, ["clerk"]);
  assert.deepEqual(policy.never[0]?.rule, { text: "publish payments.*.void", file: "p.yaml", line: 19 });
  assert.deepEqual(policy.subjects, [
    {
      pattern: "payments.>",
      seal: "token",
      audit: "durable",
      rule: { text: "payments.>", file: "p.yaml", line: 3 },
    },
  ]);
  assert.equal(policy.identities[0]?.identity.user, "entra-alice");
  assert.deepEqual(policy.tests[0]?.allowed, [
    { action: { verb: "publish", subject: "orders.eu.1.create" }, line: 23, column: 29 },
  ]);
});

/** One role `r` around the lines given. */
function inRole(lines: string): string {
  return `version: 1\nroles:\n  r:\n    given-to: [ { issuer: demo } ]\n${lines}`;
}

const MISTAKES: readonly (readonly [name: string, text: string, expected: RegExp])[] = [
  ["a text that is empty", "", /^1:1 is empty; a policy begins with "version: 1"$/],
  ["a missing version", "roles: {}", /^1:1 lacks "version: 1"$/],
  ["another version", "version: 2", /^1:10 version is not 1/],
  [
    "an unknown section",
    "version: 1\nrolse: {}",
    /^2:1 "rolse" is not a key of a policy \(did you mean "roles"\?\)/,
  ],
  [
    "an unknown key of a role",
    inRole("    mya: []"),
    /^5:5 "mya" is not a key of role "r" \(did you mean "may"\?\)/,
  ],
  [
    "a role without given-to",
    "version: 1\nroles:\n  r: { may: [read-audit] }",
    /^3:3 role "r" lacks "given-to"/,
  ],
  ["a key that stands twice", inRole("    may: []\n    may: []"), /^6:5 "may" stands twice in role "r"/],
  [
    "a line without its issuer",
    "version: 1\nroles:\n  r:\n    given-to: [ { groups: A } ]",
    /^4:17 .* lacks its issuer/,
  ],
  [
    "an unquoted number as a group",
    "version: 1\nroles:\n  r:\n    given-to: [ { issuer: demo, groups: 007 } ]",
    /^4:41 groups .* is 007 without quotes, which YAML reads as a number; write '007'$/,
  ],
  [
    "an unquoted number in a list of groups",
    "version: 1\nroles:\n  r:\n    given-to: [ { issuer: demo, groups: [A, 1e3] } ]",
    /^4:45 groups .* is 1e3 without quotes/,
  ],
  [
    "an unquoted number in an identity",
    "version: 1\nidentities:\n  a: { issuer: demo, user: 12 }",
    /^3:28 user in identity "a" is 12 without quotes/,
  ],
  [
    "a mistyped key of given-to",
    "version: 1\nroles:\n  r:\n    given-to: [ { issuer: demo, group: A } ]",
    /^4:33 "group" is not a key of given-to \(did you mean "groups"\?\)$/,
  ],
  [
    "an empty list of groups, which would hold for everybody",
    "version: 1\nroles:\n  r:\n    given-to: [ { issuer: demo, groups: [] } ]",
    /^4:41 groups .* is an empty list/,
  ],
  [
    "a line for a user who is a service",
    "version: 1\nroles:\n  r:\n    given-to: [ { issuer: demo, user: a, service: b } ]",
    /nobody is both/,
  ],
  [
    "a list where alternatives would be guessed",
    "version: 1\nroles:\n  r:\n    given-to: [ { issuer: demo, user: [a, b] } ]",
    /^4:39 user .* is a list; write one value, and one line for each alternative$/,
  ],
  [
    "a day that does not exist",
    "version: 1\nroles:\n  r:\n    given-to: [ { issuer: demo, until: 2026-02-30 } ]",
    /^4:40 until is "2026-02-30"/,
  ],
  [
    "a mistyped verb",
    inRole("    may: [pubilsh a]"),
    /^5:11 "pubilsh a" begins with "pubilsh" \(did you mean "publish"\?\)/,
  ],
  ["a bare > as a subject", inRole("    may: [publish >]"), /^5:19 .* opens its subject with ">"/],
  ["a leading * in never", inRole("    never: [subscribe *.x]"), /^5:23 .* opens its subject with "\*"/],
  ["a line that YAML reads as empty", inRole("    may:\n      - >\n      - read-audit"), /^6:9 "" is empty/],
  [
    "a line that YAML reads as an alias",
    inRole("    may:\n      - *.x"),
    /^6:9 .* is read by YAML as an alias/,
  ],
  [
    "a line that YAML reads as a map",
    inRole("    may:\n      - publish a: b"),
    /^6:9 .* is read by YAML as a map/,
  ],
  [
    "a template without quotes inside brackets",
    inRole("    may: [ publish orders.{region}.x ]"),
    /Inside \[ … \] a line with a template or a list needs quotes/,
  ],
  [
    "a template for part of a token",
    inRole("    may: [ 'publish a.x{b}' ]"),
    /^5:23 .* a template stands for one whole token/,
  ],
  ["a subject of JetStream", inRole("    may: [ publish $JS.API.INFO ]"), /belongs to NATS itself/],
  ["a subject of everybody's inbox", inRole("    may: [ subscribe _INBOX.> ]"), /belongs to NATS itself/],
  ["reading under a final *", inRole("    may: [ read-kv K a.* ]"), /nats-server would take for ">"/],
  [
    "never for one queue of several",
    inRole("    never: [ subscribe a queue q ]"),
    /forbids one of several queue/,
  ],
  [
    "a credential of a second",
    inRole("    limits: { credential: 1s }"),
    /^5:27 credential .* write a duration of 30s to 24h/,
  ],
  ["a size without a unit", inRole("    limits: { payload: 64 }"), /^5:24 payload .* write a size/],
  ["a rate per hour", inRole("    limits: { rate: 5/h }"), /^5:21 rate .* messages a second/],
  ["no connections", inRole("    limits: { connections: 0 }"), /^5:28 connections .* 1 to 1000/],
  [
    "an unknown limit",
    inRole("    limits: { conections: 1 }"),
    /^5:15 "conections" .* \(did you mean "connections"\?\)/,
  ],
  [
    "acting for a role that is not there",
    inRole("    acts-for: [ clerk ]"),
    /^3:1 role "r" acts for the role "clerk"/,
  ],
  [
    "a test as nobody",
    "version: 1\ntests: [ { as: al, allowed: [ read-audit ] } ]",
    /^2:1 a test is run as "al"/,
  ],
  ["a test of nothing", "version: 1\ntests: [ { as: al } ]", /^2:10 a test of "al" tests nothing/],
  [
    "a test with a template",
    "version: 1\ntests: [ { as: al, allowed: [ 'publish a.{b}' ] } ]",
    /has the template/,
  ],
  [
    "an unknown seal",
    "version: 1\nsubjects: { a.>: { seal: tokn } }",
    /^2:26 seal is "tokn" \(did you mean "token"\?\)/,
  ],
  [
    "a subject that is none",
    "version: 1\nsubjects: { a..b: { seal: token } }",
    /^2:13 subject "a..b" has an empty token/,
  ],
  ["an alias", "version: 1\nx: &a 1\nnever: *a", /is the alias "\*a"; a policy has no aliases/],
  ["a tag", "version: 1\nnever: !!set {}", /a policy has neither|is not YAML/],
  ["a merge key", "version: 1\nroles: { <<: {} }", /keys are words/],
  ["two documents", "version: 1\n---\nversion: 1", /^2:1 begins a second document/],
  [
    "a value with a control character",
    'version: 1\nidentities: { a: { issuer: demo, user: "a\\u0000" } }',
    /has control characters/,
  ],
  [
    "a value that is too long",
    `version: 1\nidentities: { a: { issuer: demo, user: a, x: ${"y".repeat(513)} } }`,
    /longer than 512/,
  ],
  [
    "a user whose name fits into no subject",
    `version: 1\nidentities: { a: { issuer: demo, user: ${"ü".repeat(100)} } }`,
    /too long to stand in a subject/,
  ],
  [
    "an identity that is both or neither",
    "version: 1\nidentities: { a: { issuer: demo } }",
    /either a user or a service/,
  ],
  ["an identity without its issuer", "version: 1\nidentities: { a: { user: x } }", /lacks its issuer/],
  [
    "an actor that is not there",
    "version: 1\nidentities: { a: { issuer: demo, user: x, actor: y } }",
    /^2:1 .* has the actor "y"/,
  ],
  [
    "an issuer named with a dash",
    "version: 1\nroles: { r: { given-to: [ { issuer: a-b } ] } }",
    /issuers are named with a–z and 0–9/,
  ],
  ["an anchor", "version: 1\nnever: &a [ read-audit ]", /has an anchor or a tag/],
  [
    "a subject of more than 256 bytes",
    inRole(`    may: [ publish ${"a".repeat(257)} ]`),
    /longer than 256 bytes/,
  ],
  [
    "consumers without names",
    inRole("    may: [ 'read-stream S a consumers' ]"),
    /lacks the names of its consumers/,
  ],
  ["keys that no bucket has", inRole("    may: [ 'read-kv K a,b' ]"), /keys are made of/],
  [
    "a role named with spaces",
    "version: 1\nroles: { 'a b': { given-to: [ { issuer: demo } ] } }",
    /names are 1–64 of/,
  ],
];

for (const [name, text, expected] of MISTAKES) {
  test(`parsePolicy() refuses ${name}`, () => {
    const mistakes = mistakesIn(text);
    assert(
      mistakes.some((mistake) => expected.test(mistake)),
      `${expected} is not among\n${mistakes.join("\n")}`,
    );
  });
}

test("parsePolicy() tells every mistake at once, in the order of the file", () => {
  const mistakes = mistakesIn(
    inRole("    may: [ publsh a, subscribe >, connect x ]\n    mya: []\n    limits: { x: 1 }"),
  );
  assert.deepEqual(
    mistakes.map((mistake) => mistake.split(" ", 1)[0]),
    ["6:5", "5:12", "5:32", "5:43", "7:15"],
  );
});

test("parsePolicy() repeats nothing of a policy that a terminal would obey", () => {
  const text =
    "version: 1\n\u001b[31m\u202ex\u200b: 1\nroles: { r: { given-to: [ { issuer: demo } ], may: [ 'a\u001b[2J' ] } }";
  const said = mistakesIn(text).join("");
  assert.match(said, /\?\[31m\?x\?/);
  assert.doesNotMatch(said, /[\p{C}]/u);
  const policy = policyOf(
    "version: 1\nroles:\n  r:\n    given-to:\n    - { issuer: demo, # \u202e\n        user: a }\n",
  );
  assert.equal(policy.roles[0]?.givenTo[0]?.rule.text, "{ issuer: demo, # ? user: a }");
});

test("parsePolicy() joins several files, and refuses a role, identity or subject that stands in two", () => {
  const a = { path: "policy/a.yaml", text: "version: 1\nroles: { r: { given-to: [ { issuer: demo } ] } }\n" };
  const b = { path: "policy/b.yaml", text: "version: 1\nroles: { s: { given-to: [ { issuer: demo } ] } }\n" };
  const both = parsePolicy([b, a]);
  assert(both.ok);
  assert.deepEqual(
    both.policy.roles.map(({ name }) => name),
    ["r", "s"],
  );
  const twice = parsePolicy([a, { ...a, path: "policy/c.yaml" }]);
  assert(!twice.ok);
  assert.deepEqual(twice.mistakes, [
    {
      file: "policy/c.yaml",
      line: 2,
      column: 1,
      message: 'role "r" stands already at policy/a.yaml:2; put both together',
    },
  ]);
});

test("versionOf() is what sha256sum prints, of one file and of several, wherever they lie", () => {
  const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");
  assert.equal(versionOf([{ path: "x/p.yaml", text: "a\n" }]), sha256("a\n"));
  const files = [
    { path: "x/b.yaml", text: "b\n" },
    { path: "x/a.yaml", text: "a\n" },
  ];
  assert.equal(versionOf(files), sha256(`${sha256("a\n")}  a.yaml\n${sha256("b\n")}  b.yaml\n`));
  assert.equal(
    versionOf(files),
    versionOf(files.map((file) => ({ ...file, path: file.path.replace("x", "y") })).reverse()),
  );
});

test("checkIssuers() names the issuers that the configuration lacks", () => {
  assert.deepEqual(checkIssuers(policyOf(DEVSTACK), ["demo"]), []);
  const [first] = checkIssuers(policyOf(DEVSTACK), ["dmo"]);
  assert.match(
    first?.message ?? "",
    /issuer "demo" \(did you mean "dmo"\?\), which the configuration does not have/,
  );
});

const MIB = 1024 * 1024;
const HOSTILE: Readonly<Record<string, string>> = {
  "brackets without end": `a: ${"[".repeat(MIB - 3)}`,
  "one line of dashes": "- ".repeat(MIB / 2),
  // Without the bound this one ends the process: the parser recurses until nothing is left.
  "one line of question marks": "? ".repeat(MIB / 2),
  "indentation without end": Array.from({ length: 1_400 }, (_, depth) => `${" ".repeat(depth)}a:`).join("\n"),
  "an alias bomb": `a: &a [x]\n${Array.from({ length: 30 }, (_, i) => `b${i}: &b${i} [${"*a,".repeat(9)}]`).join("\n")}`,
  "a million quotes": '"'.repeat(MIB),
  "ninety thousand keys": Array.from({ length: 90_000 }, (_, i) => `k${i}: 1`).join("\n"),
  "commas without end": `[${",".repeat(MIB - 1)}`,
};

for (const [name, text] of Object.entries(HOSTILE)) {
  test(`parsePolicy() survives ${name}`, () => {
    const started = performance.now();
    assert(mistakesIn(text).length > 0);
    assert(performance.now() - started < 10_000, "in bounded time");
  });
}

test("parsePolicy() refuses a file that is too large, and too many files", () => {
  assert.match(mistakesIn("#".repeat(MIB + 1))[0] ?? "", /is larger than 1048576 bytes/);
  const many = Array.from({ length: 101 }, (_, i) => ({ path: `${i}.yaml`, text: "version: 1" }));
  const parsed = parsePolicy(many);
  assert(!parsed.ok);
  assert.match(parsed.mistakes[0]?.message ?? "", /at most 100/);
});

test("parsePolicy() reports at most a hundred mistakes, and counts the rest", () => {
  const mistakes = mistakesIn(inRole(`    may: [ ${"x, ".repeat(250)} ]`));
  assert.equal(mistakes.length, 101);
  assert.match(mistakes[100] ?? "", /and 150 more$/);
});

test("parsePolicy() says where not, or yes and so does the schema, of a policy with any of its characters changed", (t) => {
  t.diagnostic(`FUZZ_SEED=${SEED}`);
  const snippet = fc.oneof(
    fc.string({ maxLength: 4 }),
    fc.constantFrom("\n", "  ", "[", "{", "*", "&a ", "- ", "? ", ": ", "'", "|"),
  );
  const edit = fc.record({ at: fc.nat(DEVSTACK.length), remove: fc.nat(3), insert: snippet });
  fc.assert(
    fc.property(fc.array(edit, { minLength: 1, maxLength: 3 }), (edits) => {
      let text = DEVSTACK;
      for (const { at, remove, insert } of edits) text = text.slice(0, at) + insert + text.slice(at + remove);
      const mistakes = mistakesIn(text);
      for (const mistake of mistakes) assert.match(mistake, /^\d+:\d+ .+/s);
      if (mistakes.length === 0) assert(fitsSchema(parse(text)), text);
    }),
    { seed: SEED, numRuns: 1_000 },
  );
});
