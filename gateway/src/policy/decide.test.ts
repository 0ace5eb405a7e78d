import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type Action, parseAction } from "./action.ts";
import { decide } from "./decide.ts";
import type { Grant } from "./grant.ts";
import { includes, overlaps } from "./pattern.ts";
import { grantOf, roleOf } from "./testing/fixtures.ts";

const SEED = Number(process.env.FUZZ_SEED ?? Math.floor(Math.random() * 2 ** 31));

function actionOf(text: string): Action {
  const action = parseAction(text);
  assert(action.ok, text);
  return action.value;
}

/** The line that allows an action, or the reason it is refused. */
function verdict(grant: Grant, text: string): string {
  const outcome = decide(grant, actionOf(text));
  return outcome.ok ? outcome.value.rule.text : outcome.refusal.reason;
}

function verdicts(
  may: readonly string[],
  never: readonly string[],
  expected: Readonly<Record<string, string>>,
): void {
  const grant = grantOf(roleOf(may, never));
  const found = Object.fromEntries(Object.keys(expected).map((text) => [text, verdict(grant, text)]));
  assert.deepEqual(found, expected);
}

test("decide() refuses whatever no line grants, and names the line that came nearest", () => {
  const grant = grantOf(roleOf(["publish orders.eu.*", "publish other.x"]));
  assert.deepEqual(decide(grant, actionOf("publish orders.us.1")), {
    ok: false,
    refusal: {
      reason: "not_granted",
      action: "publish orders.us.1",
      nearest: { role: "r", text: "publish orders.eu.*", file: "p.yaml", line: 5 },
    },
  });
  assert.equal(verdict(grantOf(roleOf([])), "publish a"), "not_granted");
});

test("decide() names the never that forbids, whatever allows", () => {
  const grant = grantOf(roleOf(["publish a.>"], ["publish a.b"]));
  assert.deepEqual(decide(grant, actionOf("publish a.b")), {
    ok: false,
    refusal: {
      reason: "never",
      action: "publish a.b",
      rule: { role: "r", text: "publish a.b", file: "p.yaml", line: 6 },
    },
  });
});

test("decide() takes publish and request for one right, as nats-server does, and asks for an inbox besides", () => {
  verdicts(["publish a.b"], [], { "publish a.b": "publish a.b", "request a.b": "not_granted" });
  verdicts(["publish a.b", "request c"], [], {
    "request a.b": "publish a.b",
    "publish c": "request c",
    "request c": "request c",
  });
  verdicts(["request a.>"], ["publish a.b"], { "request a.b": "never", "request a.c": "request a.>" });
});

test("decide() allows a wildcard subscription only where one line includes all of it", () => {
  verdicts(["subscribe a.*", "subscribe b.>", "subscribe c.x.>"], [], {
    "subscribe a.b": "subscribe a.*",
    "subscribe a.*": "subscribe a.*",
    "subscribe a.>": "not_granted",
    "subscribe a.b.c": "not_granted",
    "subscribe b.*.c": "subscribe b.>",
    "subscribe b": "not_granted",
    "subscribe c.>": "not_granted",
  });
});

test("decide() refuses a wildcard subscription that meets a never which nats-server would refuse or might not filter", () => {
  verdicts(["subscribe a.>"], ["subscribe a.b.*", "subscribe a.c"], {
    "subscribe a.>": "subscribe a.>",
    "subscribe a.c": "never",
    "subscribe a.b.x": "never",
    "subscribe a.b.>": "never",
    "subscribe a.*.x": "never",
    "subscribe a.*": "subscribe a.>",
    "subscribe a.d.*": "subscribe a.>",
  });
});

test("decide() keeps queues apart: none, or exactly the one granted", () => {
  verdicts(["subscribe a", "subscribe b queue q", "respond c", "respond d queue q"], [], {
    "subscribe a": "subscribe a",
    "subscribe a queue q": "not_granted",
    "subscribe b": "not_granted",
    "subscribe b queue q": "subscribe b queue q",
    "subscribe b queue r": "not_granted",
    "respond a": "not_granted",
    "respond c": "respond c",
    "respond d": "not_granted",
    "respond d queue q": "respond d queue q",
    "subscribe d queue q": "respond d queue q",
  });
});

test("decide() opens streams and buckets by name, filter and consumer", () => {
  verdicts(
    ["read-stream S a.>", "read-stream T a.> consumers [x, y]", "read-kv K a.>", "write-kv K a.*"],
    [],
    {
      "read-stream S a.b": "read-stream S a.>",
      "read-stream S a.>": "read-stream S a.>",
      "read-stream S b": "not_granted",
      "read-stream U a.b": "not_granted",
      "read-stream S a.b consumers [x]": "not_granted",
      "read-stream T a.b": "not_granted",
      "read-stream T a.b consumers [y]": "read-stream T a.> consumers [x, y]",
      "read-stream T a.b consumers [z]": "not_granted",
      "read-kv K a.b": "read-kv K a.>",
      "read-kv L a.b": "not_granted",
      "write-kv K a.b": "write-kv K a.*",
      "write-kv K a.b.c": "not_granted",
    },
  );
});

test("decide() grants ways to connect and what operators do by name", () => {
  verdicts(["connect native", "read-audit"], [], {
    "connect native": "connect native",
    "connect direct": "not_granted",
    "read-audit": "read-audit",
    "push-policy": "not_granted",
  });
});

test("decide() refuses a subject that is not well-formed, however wide the line", () => {
  const grant = grantOf(roleOf(["publish a.>", "subscribe a.>", "write-kv K >"]));
  for (const subject of [
    "",
    "a",
    "a.",
    "a..b",
    "a.*",
    "a.>",
    "a. b",
    "a.\u00e9",
    "a.\0",
    `a.${"x".repeat(256)}`,
    "$JS.a",
  ]) {
    assert(!decide(grant, { verb: "publish", subject }).ok, JSON.stringify(subject));
    assert(
      !decide(grant, { verb: "write-kv", bucket: "K", key: subject === "a" ? "" : subject }).ok ||
        subject === "$JS.a",
    );
  }
  assert(!decide(grant, { verb: "subscribe", subject: "a..b" }).ok);
  assert(!decide(grant, { verb: "subscribe", subject: "a.\n" }).ok);
});

const pattern = fc
  .tuple(fc.constantFrom("a", "b"), fc.array(fc.constantFrom("a", "b", "*"), { maxLength: 3 }), fc.boolean())
  .map(([first, others, rest]) => [first, ...others, ...(rest ? [">"] : [])].join("."));
const subject = fc
  .array(fc.constantFrom("a", "b", "c"), { minLength: 1, maxLength: 5 })
  .map((tokens) => tokens.join("."));

test("decide() says of a literal subject what the lines say, read one by one", (t) => {
  t.diagnostic(`FUZZ_SEED=${SEED}`);
  fc.assert(
    fc.property(fc.array(pattern), fc.array(pattern), fc.array(subject), (may, never, subjects) => {
      const verbs = ["publish", "subscribe", "write-kv K"];
      const lines = (patterns: readonly string[]): string[] =>
        verbs.flatMap((verb) => patterns.map((one) => `${verb} ${one}`));
      const grant = grantOf(roleOf(lines(may), lines(never)));
      for (const one of subjects) {
        const expected =
          may.some((line) => includes(line, one)) && !never.some((line) => includes(line, one));
        for (const verb of verbs)
          assert.equal(decide(grant, actionOf(`${verb} ${one}`)).ok, expected, `${verb} ${one}`);
      }
    }),
    { seed: SEED, numRuns: 300 },
  );
});

test("decide() never lets a reader near what is forbidden", () => {
  const readable = pattern.map((text) => text.replace(/\*$/, ">"));
  fc.assert(
    fc.property(fc.array(readable), fc.array(readable), fc.array(readable), (may, never, asked) => {
      const grant = grantOf(
        roleOf(
          may.map((one) => `read-stream S ${one} consumers [x]`),
          never.map((one) => `read-stream S ${one}`),
        ),
      );
      for (const one of asked) {
        const outcome = decide(grant, { verb: "read-stream", stream: "S", subject: one, consumer: "x" });
        if (!outcome.ok) continue;
        assert(may.some((line) => includes(line, one)));
        assert(!never.some((line) => overlaps(line, one)));
      }
    }),
    { seed: SEED, numRuns: 300 },
  );
});

test("decide() takes microseconds under thousands of lines", () => {
  const may = Array.from({ length: 3_900 }, (_, number) => `publish orders.r${number % 60}.*.t${number}`);
  const grant = grantOf(roleOf(may));
  const action = actionOf("publish orders.r7.4711.t67");
  const times = Array.from({ length: 2_000 }, () => {
    const started = performance.now();
    assert(decide(grant, action).ok);
    return (performance.now() - started) * 1000;
  });
  const median = times.sort((a, b) => a - b)[1_000] ?? Number.POSITIVE_INFINITY;
  assert(median < 50, `median ${median.toFixed(2)} µs`);
});
