import assert from "node:assert/strict";
import { test } from "node:test";
import type { Identity } from "../identity/identity.ts";
import { parseAction } from "./action.ts";
import { explain, type Missing } from "./explain.ts";
import { missingText, renderExplanation } from "./explain-text.ts";
import { NOW, policyOf, userOf } from "./testing/fixtures.ts";

const POLICY = policyOf(`version: 1
roles:
  clerk:
    given-to: [ { issuer: demo, groups: Clerks, acr: mfa, until: 2030-12-31 } ]
    may:
      - publish orders.{region}.create
      - subscribe notices.> queue q
      - read-stream ORDERS orders.> consumers [billing]
      - read-kv carts {user}.>
      - connect native
  one: { given-to: [ { issuer: demo, user: ann } ], may: [ respond only.ann ] }
  web: { given-to: [ { issuer: demo, client: web } ], may: [ respond only.web ] }
  service: { given-to: [ { issuer: demo, service: inv } ], may: [ respond only.service ] }
  other: { given-to: [ { issuer: other } ], may: [ respond far.away.from.all ] }
  agent: { given-to: [ { issuer: demo, service: agent } ], acts-for: [ clerk ], may: [ publish orders.> ] }
  narrow: { given-to: [ { issuer: demo } ], may: [ read-stream ALL all.>, 'subscribe deep.*', subscribe deep.a.b, connect direct ], never: [ read-stream ALL all.x ] }
`);

const CLERK = userOf("bob", { groups: ["Clerks"], region: ["eu"] }, { acr: "mfa" });

/** What the nearest line lacks. */
function missing(text: string, identity: Identity = CLERK, now: number = NOW): readonly Missing[] {
  const action = parseAction(text);
  assert(action.ok, text);
  const { outcome, near } = explain(POLICY, identity, action.value, now);
  assert.equal(outcome, "refused");
  return near[0]?.missing ?? [];
}

const RULES = { role: "narrow", file: "p.yaml", line: 16 };

const LACKS: readonly (readonly [string, readonly Missing[], Identity?, number?])[] = [
  [
    "publish orders.us.create",
    [{ what: "token", position: 2, expected: "eu", found: "us", template: "region" }],
  ],
  ["publish orders.eu.delete", [{ what: "token", position: 3, expected: "create", found: "delete" }]],
  ["publish orders.eu.create.x", [{ what: "tokens", expected: 3, found: 4 }]],
  [
    "publish orders.eu.create",
    [{ what: "template", template: "region" }],
    { ...CLERK, attributes: { groups: ["Clerks"] } },
  ],
  [
    "publish orders.eu.create",
    [{ what: "attribute", name: "groups", expected: "Clerks", found: ["X"] }],
    { ...CLERK, attributes: { groups: ["X"], region: ["eu"] } },
  ],
  ["publish orders.eu.create", [{ what: "acr", expected: "mfa", found: "pwd" }], { ...CLERK, acr: "pwd" }],
  ["publish orders.eu.create", [{ what: "until", until: 1_924_992_000 }], CLERK, 1_924_992_000],
  ["subscribe notices.x", [{ what: "queue", expected: "q", found: "none" }]],
  ["subscribe notices.> queue r", [{ what: "queue", expected: "q", found: "r" }]],
  ["read-stream ORDERS orders.x", [{ what: "consumer", expected: "billing", found: "none" }]],
  [
    "read-stream OTHER orders.x consumers [billing]",
    [{ what: "stream", expected: "ORDERS", found: "OTHER" }],
  ],
  [
    "read-kv carts demo-eve.1",
    [{ what: "token", position: 1, expected: "demo-bob", found: "demo-eve", template: "user" }],
  ],
  ["read-kv carts >", [{ what: "token", position: 1, expected: "demo-bob", found: ">", template: "user" }]],
  ["read-kv tills demo-bob.1", [{ what: "bucket", expected: "carts", found: "tills" }]],
  ["connect mqtt", [{ what: "way", expected: "native", found: "mqtt" }]],
  ["respond only.ann", [{ what: "user", expected: "ann", found: "bob" }]],
  ["respond only.web", [{ what: "client", expected: "web" }]],
  ["respond only.service", [{ what: "service", expected: "inv" }]],
  ["respond far.away.from.all", [{ what: "issuer", expected: "other", found: "demo" }]],
  [
    "read-stream ALL all.y",
    [{ what: "withheld", why: "never_overlaps", because: [{ ...RULES, text: "read-stream ALL all.x" }] }],
  ],
  [
    "connect direct",
    [
      {
        what: "withheld",
        why: "direct_too_wide",
        because: [
          { ...RULES, text: "subscribe deep.*" },
          { ...RULES, text: "subscribe deep.a.b" },
        ],
      },
    ],
  ],
  ["publish orders.x", [{ what: "acting" }], userOf("agent", {}, { kind: "service", client: "agent" })],
  [
    "publish orders.x",
    [{ what: "acts-for", roles: ["clerk"] }],
    userOf("bob", {}, { actor: { user: "demo-agent" } }),
  ],
  ["publish orders.us.create", [{ what: "user-lacks" }], { ...CLERK, actor: { user: "demo-agent" } }],
  ["respond only.ann", [{ what: "own" }], userOf("ann", {}, { actor: { user: "demo-agent" } })],
];

for (const [text, expected, identity, now] of LACKS) {
  const [first] = expected;
  test(`explain() says of "${text}" that ${first ? missingText(first) : ""}`, () => {
    assert.deepEqual(missing(text, identity, now), expected);
  });
}

test("explain() says of a request whose subject may be published to that it lacks an inbox", () => {
  const policy = policyOf("version: 1\nroles: { r: { given-to: [ { issuer: demo } ], may: [ publish a ] } }");
  const explanation = explain(policy, CLERK, { verb: "request", subject: "a" }, NOW);
  assert.deepEqual(explanation.near[0]?.missing, [{ what: "inbox" }]);
});

test("explain() names the line that allows, and the never that forbids", () => {
  const policy = policyOf(
    "version: 1\nroles: { r: { given-to: [ { issuer: demo } ], may: [ publish a.> ] } }\nnever: [ publish a.b ]",
  );
  const of = (subject: string): string =>
    renderExplanation(explain(policy, CLERK, { verb: "publish", subject }, NOW), "bob");
  assert.equal(
    of("a.c"),
    "allowed  publish a.c\nas       bob (demo-bob), with r\nby       publish a.>  role r, p.yaml:2\n",
  );
  assert.equal(
    of("a.b"),
    "refused  publish a.b\nas       bob (demo-bob), with r\nnever    publish a.b  p.yaml:3\n",
  );
});

test("explain() has nothing near to name when no role has such a verb", () => {
  const text = renderExplanation(explain(POLICY, userOf("x"), { verb: "push-policy" }, NOW), "x");
  assert.match(
    text,
    /^refused {2}push-policy\nas {7}x \(demo-x\), with narrow\nbecause {2}no role of the policy has such a line\n$/,
  );
});
