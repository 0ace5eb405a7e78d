import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { test } from "node:test";
import { setImmediate as turnEnd } from "node:timers/promises";
import { createVerifier, payloadDigest, type SealingKey, staticKeySet, uuidv7 } from "@countersign/seal";
import type { Admission } from "./admit.ts";
import type { AuditCompletion } from "./audit/record.ts";
import type { Identity } from "./identity/identity.ts";
import type { Confirmation, Connection, InboundMessage, OutboundMessage, Pool } from "./nats/connection.ts";
import type { Grant } from "./policy/grant.ts";
import type { Message } from "./prepare.ts";
import { createPublish } from "./publish.ts";
import { allowed, type Outcome, refused } from "./refusal.ts";

const NOW = 1_000_000;
const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
const KEY: SealingKey = { kid: "a".repeat(43), privateKey };
const KEYS = staticKeySet({
  keys: [
    { ...publicKey.export({ format: "jwk" }), kid: KEY.kid, alg: "ES256", use: "sig", nbf: 0, exp: 2 * NOW },
  ],
});
const verify = createVerifier({
  issuer: "https://gateway.example",
  audience: "test",
  keys: KEYS,
  clock: () => NOW,
});

/** Transactions are UUIDs; tests count them. */
function txnOf(n: number): string {
  return `01a20c69-d43b-7398-8a57-${String(n).padStart(12, "0")}`;
}

function admissionOf(n = 0): Admission {
  const txn = txnOf(n);
  return {
    identity: {
      user: "test-ada",
      issuer: "test",
      id: "ada",
      proof: { kind: "session", hash: "A".repeat(43) },
    } as Identity,
    grant: {} as Grant,
    line: {
      verb: "publish",
      pattern: "lab.>",
      rule: { text: "publish lab.>", file: "policy.yaml", line: 1 },
    },
    facts: { txn, requestId: txn, lane: "http" },
    at: NOW,
  };
}

function messageOf(text: string, subject = "lab.tree"): Message {
  const payload = Buffer.from(text);
  const id = uuidv7(NOW * 1000);
  const facts = { id, subject, bytes: payload.length, digest: payloadDigest(payload) };
  return { facts, payload, headers: [["a", "1"]], traceparent: "00-trace" };
}

interface Bench {
  readonly sealingKey?: () => SealingKey | undefined;
  readonly connection?: Outcome<never>;
  readonly published?: () => Outcome<void>;
  readonly confirmation?: Confirmation;
  readonly reply?: Outcome<InboundMessage>;
}

function bench({
  sealingKey = () => KEY,
  connection,
  published = () => allowed(undefined),
  confirmation = "received",
  reply = refused({ reason: "timeout", timeoutMs: 1 }),
}: Bench = {}) {
  const sent: OutboundMessage[] = [];
  const completions: AuditCompletion[] = [];
  const fake = {
    publish(message: OutboundMessage) {
      const outcome = published();
      if (outcome.ok) sent.push(message);
      return outcome;
    },
    confirm: async () => confirmation,
    async request(message: OutboundMessage) {
      sent.push(message);
      return reply;
    },
  } as unknown as Connection;
  const effects = createPublish({
    pool: { connectionFor: () => connection ?? allowed(fake) } as unknown as Pool,
    issuer: "https://gateway.example",
    audience: "test",
    workload: "countersign/test",
    sealingKey,
    replierOf: async ({ headers }, requestId) =>
      headers.some(([name, value]) => name === "from" && value === requestId) ? "test-replier" : undefined,
    sealFormOf: (subject) => (subject === "lab.token" ? "token" : "tree"),
    audit: { record: async () => {}, complete: (entry) => completions.push(entry), close: async () => {} },
    attempts: { write: () => assert.fail("nothing has a key"), read: () => assert.fail("nothing has a key") },
    clock: () => NOW,
    instance: "test",
  });
  return { effects, sent, completions };
}

function rootOf(message: OutboundMessage): string | undefined {
  return message.headers.find(([name]) => name === "Seal-Root")?.[1];
}

test("publish() seals all messages of a turn under one root, and completes them in one line", async () => {
  const { effects, sent, completions } = bench();
  const outcomes = await Promise.all(
    [1, 2, 3].map((n) => effects.publish(admissionOf(n), messageOf(String(n)))),
  );
  assert(outcomes.every(({ ok }) => ok));
  assert.equal(new Set(sent.map(rootOf)).size, 1);
  for (const message of sent) assert.equal((await verify(message)).sender.user, "test-ada");
  await turnEnd();
  assert.deepEqual(
    completions.map(({ txns, outcome }) => [txns, outcome]),
    [[[txnOf(1), txnOf(2), txnOf(3)], "received"]],
  );
  assert.match(String(completions[0]?.root), /^[A-Za-z0-9_-]{43}$/);
});

test("publish() seals no more than 256 messages under one root", async () => {
  const { effects, sent } = bench();
  await Promise.all(
    Array.from({ length: 300 }, (_, n) => effects.publish(admissionOf(n), messageOf(String(n)))),
  );
  assert.equal(new Set(sent.map(rootOf)).size, 2);
});

test("publish() gives a subject the form that its policy says, alone or not", async () => {
  const { effects, sent, completions } = bench();
  await Promise.all([
    effects.publish(admissionOf(1), messageOf("1", "lab.token")),
    effects.publish(admissionOf(2), messageOf("2", "lab.token")),
  ]);
  for (const message of sent) {
    assert.equal(rootOf(message), undefined);
    assert.equal((await verify(message)).sender.user, "test-ada");
  }
  await turnEnd();
  assert.deepEqual(
    completions.map(({ root }) => root),
    [undefined],
  );
});

test("publish() sends the caller's headers, the seal and the trace, in that order", async () => {
  const { effects, sent } = bench();
  await effects.publish(admissionOf(), messageOf("1"));
  const names = sent[0]?.headers.map(([name]) => name) ?? [];
  assert.deepEqual([names[0], names.at(-1)], ["a", "traceparent"]);
  assert.deepEqual(names.slice(1, -1).sort(), ["Nats-Msg-Id", "Seal-Claims", "Seal-Path", "Seal-Root"]);
});

for (const confirmation of ["received", "refused", "unknown"] as const) {
  test(`publish() completes the record as nats-server took it: ${confirmation}`, async () => {
    const { effects, completions } = bench({ confirmation });
    await effects.publish(admissionOf(), messageOf("1"));
    await turnEnd();
    assert.deepEqual(
      completions.map(({ txns, outcome }) => [txns, outcome]),
      [[[txnOf(0)], confirmation]],
    );
  });
}

test("publish() waits for nats-server where it is asked to, and says what came of it", async () => {
  const outcomeOf = (confirmation: Confirmation) =>
    bench({ confirmation }).effects.publish(admissionOf(), messageOf("1"), "received");
  assert.equal((await outcomeOf("received")).ok, true);
  assert.deepEqual(await outcomeOf("unknown"), refused({ reason: "connection_lost" }));
  const denied = await outcomeOf("refused");
  assert(!denied.ok && denied.refusal.reason === "nats_unavailable");
});

const away = refused({ reason: "nats_unavailable", why: "not connected" });
const FAILURES: Readonly<Record<string, { readonly parts: Bench; readonly reason: string }>> = {
  "there is no connection": { parts: { connection: away }, reason: "nats_unavailable" },
  "the connection does not take it": { parts: { published: () => away }, reason: "nats_unavailable" },
  "no key is published yet": { parts: { sealingKey: () => undefined }, reason: "check_unavailable" },
  "the key store fails": {
    parts: {
      sealingKey: () => {
        throw new Error("unreadable");
      },
    },
    reason: "check_unavailable",
  },
};
for (const [what, { parts, reason }] of Object.entries(FAILURES)) {
  for (const subject of ["lab.tree", "lab.token"]) {
    test(`publish() sends nothing on ${subject} when ${what}, and says so in the record`, async () => {
      const { effects, sent, completions } = bench(parts);
      const outcome = await effects.publish(admissionOf(), messageOf("1", subject));
      assert(!outcome.ok);
      assert.equal(outcome.refusal.reason, reason);
      await turnEnd();
      assert.deepEqual(sent, []);
      assert.deepEqual(
        completions.map(({ outcome: how, why }) => [how, why]),
        [["failed", reason]],
      );
    });
  }
}

test("request() gives the reply, and completes the record as replied", async () => {
  const answer: InboundMessage = { subject: "inbox", payload: Buffer.from("yes"), headers: [] };
  const { effects, sent, completions } = bench({ reply: allowed(answer) });
  assert.deepEqual(await effects.request(admissionOf(), messageOf("1"), 1), allowed(answer));
  assert.equal((await verify(sent[0] ?? assert.fail())).text(), "1");
  await turnEnd();
  assert.equal(completions[0]?.outcome, "replied");
  assert.equal(completions[0]?.by, undefined);
});

test("request() records who replied, where the reply proves it", async () => {
  const message = messageOf("1");
  const headers = [["from", message.facts.id]] as const;
  const answer: InboundMessage = { subject: "inbox", payload: Buffer.from("yes"), headers };
  const { effects, completions } = bench({ reply: allowed(answer) });
  await effects.request(admissionOf(), message, 1);
  await turnEnd();
  assert.deepEqual([completions[0]?.outcome, completions[0]?.by], ["replied", "test-replier"]);
});

for (const refusal of [
  { reason: "timeout", timeoutMs: 1 },
  { reason: "no_responders", subject: "lab.tree" },
  { reason: "nats_unavailable", why: "lost" },
] as const) {
  test(`request() passes on ${refusal.reason}, and completes the record with it`, async () => {
    const { effects, completions } = bench({ reply: refused(refusal) });
    assert.deepEqual(await effects.request(admissionOf(), messageOf("1"), 1), refused(refusal));
    await turnEnd();
    assert.deepEqual([completions[0]?.outcome, completions[0]?.why], ["failed", refusal.reason]);
  });
}
