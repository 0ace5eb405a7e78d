import assert from "node:assert/strict";
import { test } from "node:test";
import { type Ask, createAdmit } from "./admit.ts";
import type { AuditRecord } from "./audit/record.ts";
import type { Identity, Presented } from "./identity/identity.ts";
import type { Action } from "./policy/action.ts";
import type { Grant, GrantLine } from "./policy/grant.ts";
import { allowed, type Outcome, type Refusal, refused } from "./refusal.ts";

const RULE = { role: "clerk", text: "publish orders.*", file: "policy.yaml", line: 3 };
const LINE: GrantLine = { verb: "publish", pattern: "orders.*", rule: RULE };
const GRANT: Grant = {
  user: "test-ada",
  policy: "version",
  hash: "hash",
  roles: ["clerk"],
  may: [LINE],
  never: [],
  limits: { credentialSeconds: 600, payloadBytes: 10, connections: 1 },
};
const ADA: Identity = {
  user: "test-ada",
  issuer: "test",
  id: "ada",
  kind: "user",
  attributes: {},
  proof: { kind: "bearer", hash: "hash-of-the-token" },
  provedAt: 0,
  expiresAt: 100,
};
const PRESENTED: Presented = {
  proofs: [{ kind: "bearer", token: "the-token" }],
  method: "POST",
  origin: null,
  fetchSite: null,
  navigation: false,
  deliberate: false,
};

function askFor(subject: string, bytes = 1): Ask {
  return {
    presented: allowed(PRESENTED),
    action: allowed({ verb: "publish", subject }),
    message: { id: "id", subject, bytes, digest: "digest" },
    facts: { txn: "txn", requestId: "txn", lane: "http" },
  };
}

interface Bench {
  readonly identify?: () => Outcome<Identity> | Promise<Outcome<Identity>>;
  readonly grantOf?: () => Grant;
  readonly withinRate?: () => Outcome<void>;
  readonly write?: () => Promise<void>;
}

function bench({ identify = () => allowed(ADA), grantOf = () => GRANT, withinRate, write }: Bench = {}) {
  const records: AuditRecord[] = [];
  const durables: (boolean | undefined)[] = [];
  let counted = 0;
  const admit = createAdmit({
    identify,
    grantOf,
    withinRate: () => {
      counted += 1;
      return withinRate?.() ?? allowed(undefined);
    },
    isDurable: (subject) => subject === "orders.durable",
    audit: {
      async record(entry, durable) {
        records.push(entry);
        durables.push(durable);
        await write?.();
      },
      complete: () => assert.fail("completions belong to the effects"),
      close: async () => {},
    },
    clock: () => 50,
    instance: "test",
  });
  return { admit, records, durables, counted: () => counted };
}

async function refusalOf(outcome: Promise<Outcome<unknown>>): Promise<Refusal> {
  const found = await outcome;
  assert(!found.ok, "expected a refusal");
  return found.refusal;
}

test("admit() gives identity, grant and the line that allows it, and has recorded them", async () => {
  const { admit, records } = bench();
  const ask = askFor("orders.1");
  const outcome = await admit(ask);
  const action = { verb: "publish", subject: "orders.1" } as const;
  assert.deepEqual(
    outcome,
    allowed({ identity: ADA, grant: GRANT, line: LINE, action, facts: ask.facts, at: 50 }),
  );
  assert.deepEqual(records, [
    {
      kind: "decision",
      at: "1970-01-01T00:00:50.000Z",
      instance: "test",
      txn: "txn",
      requestId: "txn",
      lane: "http",
      action: "publish orders.1",
      outcome: "allowed",
      user: "test-ada",
      issuer: "test",
      proof: { kind: "bearer", hash: "hash-of-the-token" },
      rule: RULE,
      policy: "version",
      message: ask.message,
    },
  ]);
  assert.doesNotMatch(JSON.stringify(records), /"the-token"/);
});

const REFUSALS: Readonly<
  Record<string, { readonly ask: Ask; readonly bench?: Bench; readonly refusal: Refusal }>
> = {
  "a proof that is not well-formed": {
    ask: { ...askFor("orders.1"), presented: refused({ reason: "proof_malformed", why: "two" }) },
    refusal: { reason: "proof_malformed", why: "two" },
  },
  "a proof that is not believed": {
    ask: askFor("orders.1"),
    bench: { identify: () => refused({ reason: "proof_missing" }) },
    refusal: { reason: "proof_missing" },
  },
  "a subject that is not well-formed": {
    ask: {
      ...askFor("orders.1"),
      action: refused({ reason: "subject_invalid", subject: "orders.\n", why: "has a space" }),
    },
    refusal: { reason: "subject_invalid", subject: "orders.\n", why: "has a space" },
  },
  "an action that no line allows": {
    ask: askFor("other.1"),
    refusal: { reason: "not_granted", action: "publish other.1" },
  },
  "a payload beyond the grant": {
    ask: askFor("orders.1", 11),
    refusal: { reason: "payload_too_large", bytes: 11, bytesMax: 10 },
  },
  "a message too many": {
    ask: askFor("orders.1"),
    bench: { withinRate: () => refused({ reason: "rate_limited", perSecond: 1, retryAfterSeconds: 1 }) },
    refusal: { reason: "rate_limited", perSecond: 1, retryAfterSeconds: 1 },
  },
  "an identity check that throws": {
    ask: askFor("orders.1"),
    bench: {
      identify: () => {
        throw new Error("down");
      },
    },
    refusal: { reason: "check_unavailable", check: "identity", why: "down" },
  },
  "an identity check that rejects": {
    ask: askFor("orders.1"),
    bench: { identify: () => Promise.reject(new Error("down")) },
    refusal: { reason: "check_unavailable", check: "identity", why: "down" },
  },
  "a grant that cannot be compiled": {
    ask: askFor("orders.1"),
    bench: {
      grantOf: () => {
        throw new Error("too large");
      },
    },
    refusal: { reason: "check_unavailable", check: "grant", why: "too large" },
  },
};
for (const [what, { ask, bench: parts, refusal }] of Object.entries(REFUSALS)) {
  test(`admit() refuses ${what}, and records it once with its reason`, async () => {
    const { admit, records } = bench(parts);
    const found = await refusalOf(admit(ask));
    assert.equal(found.reason, refusal.reason);
    assert.deepEqual({ ...refusal, ...found }, found);
    assert.deepEqual(
      records.map(({ outcome, refusal: recorded }) => [outcome, recorded]),
      [["refused", found]],
    );
  });
}

test("admit() records whose grant it is that cannot be compiled", async () => {
  const { admit, records } = bench({
    grantOf: () => {
      throw new Error("too large");
    },
  });
  await admit(askFor("orders.1"));
  assert.deepEqual(
    records.map(({ user, outcome }) => [user, outcome]),
    [["test-ada", "refused"]],
  );
});

test("admit() refuses what cannot be recorded: there is no effect without a record", async () => {
  const { admit } = bench({ write: () => Promise.reject(new Error("disk full")) });
  const refusal = { reason: "record_unwritable", why: "disk full" };
  assert.deepEqual(await refusalOf(admit(askFor("orders.1"))), refusal);
});

test("admit() waits for the record before it answers", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const { admit } = bench({ write: () => promise });
  let answered = false;
  const answer = admit(askFor("orders.1")).then(() => {
    answered = true;
  });
  await new Promise((turn) => setImmediate(turn));
  assert.equal(answered, false);
  resolve();
  await answer;
});

test("admit() asks for a durable record where the policy says so", async () => {
  const { admit, durables } = bench();
  await admit(askFor("orders.1"));
  await admit(askFor("orders.durable"));
  assert.deepEqual(durables, [false, true]);
});

test("admit() takes nothing from the rate for what it refuses, nor for what is no message", async () => {
  const { admit, counted } = bench();
  await admit(askFor("other.1"));
  await admit(askFor("orders.1", 11));
  const { message, ...noMessage } = askFor("orders.1");
  await admit(noMessage);
  await admit({ ...noMessage, action: { question: "whoami" } });
  assert.equal(counted(), 0);
});

test("admit() needs no rule for a question, but an identity", async () => {
  const { admit, records } = bench({ grantOf: () => ({ ...GRANT, may: [] }) });
  const ask: Ask = { ...askFor("orders.1"), action: { question: "whoami" } };
  const outcome = await admit(ask);
  assert(outcome.ok);
  assert.equal(outcome.value.line, undefined);
  assert.deepEqual(
    [records[0]?.action, records[0]?.outcome, records[0]?.rule],
    ["whoami", "allowed", undefined],
  );
});

test("admit() decides an action that only who asks makes definite, and records it as it turned out", async () => {
  const { admit, records } = bench();
  const { message, ...ask } = askFor("");
  const under = (identity: Identity, grant: Grant): Outcome<Action> =>
    identity === ADA && grant === GRANT
      ? allowed({ verb: "publish", subject: "orders.mine" })
      : refused({ reason: "not_found", path: "mine" });
  const outcome = await admit({ ...ask, action: { asked: "publish what is mine", under } });
  assert(outcome.ok);
  assert.deepEqual(outcome.value.action, { verb: "publish", subject: "orders.mine" });
  const nobody = bench({ identify: () => refused({ reason: "proof_missing" }) });
  await nobody.admit({ ...ask, action: { asked: "publish what is mine", under } });
  assert.deepEqual(
    [records[0]?.action, nobody.records[0]?.action],
    ["publish orders.mine", "publish what is mine"],
  );
});
