/**
 * A NATS credential never outlives the proof it was minted from, and tokens end after seconds here: so a connection
 * that newer tokens keep alive is renewed every few seconds. Nobody loses a message over it, gets one twice or out of
 * order, and whoever waits for an answer gets it.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { type JsonObject, startTestStack, type TestStack } from "./support.ts";

const POLICY = `
version: 1
roles:
  everybody:
    given-to: [ { issuer: demo, groups: Orders.Clerks } ]
    may: [ publish lab.>, subscribe lab.>, request lab.> ]
`;
/** Life of a token, and so of a credential. It is renewed after 60–70 % of it. */
const LIFE_SECONDS = 5;
/** Two renewals of a publisher's connection at least, and one of the reader's. */
const WATCHED_MS = 9_000;
const READER_SECONDS = 11;
const PAUSE_MS = 10;

let stack: TestStack;
before(async () => {
  stack = await startTestStack({ policy: POLICY });
});
after(() => stack?.stop());

type Publisher = "alice" | "bob";

function tokenFor(who: Publisher, seconds: number): string {
  return stack.token(who, { claims: { exp: Math.ceil(Date.now() / 1000) + seconds } });
}

/** Sends numbers one after the other, each under a token not older than a second. @returns how many */
async function publishNumbers(who: Publisher): Promise<number> {
  const end = performance.now() + WATCHED_MS;
  let n = 0;
  let second = 0;
  let token = "";
  for (; performance.now() < end; n++) {
    if (Math.floor(Date.now() / 1000) !== second) token = tokenFor(who, LIFE_SECONDS);
    second = Math.floor(Date.now() / 1000);
    const path = `/v1/publish?subject=lab.numbers.${who}`;
    const answer = await stack.call(path, { method: "POST", token, body: String(n) });
    assert.equal(answer.status, 202, answer.text);
    await delay(PAUSE_MS);
  }
  return n;
}

test("a reader and two publishers over several renewals: nothing lost, twice, or out of order", async () => {
  // The first credential of alice's connection ends with this token, long before the reader's own.
  const first = { method: "POST", token: tokenFor("alice", LIFE_SECONDS) };
  assert.equal((await stack.call("/v1/publish?subject=lab.first", first)).status, 202);
  const reader = await stack.stream(["lab.numbers.*"], { token: tokenFor("alice", READER_SECONDS) });
  const publishers = ["alice", "bob"] as const;
  const sent = await Promise.all(publishers.map(publishNumbers));
  const total = sent.reduce((sum, count) => sum + count, 0);
  assert(total > 200, `${total} messages are too few to tell`);

  // What ends it is its token: a late duplicate would stand before that.
  await reader.ended;
  const end = reader.events.at(-1);
  assert.deepEqual([end?.event, end?.data.code], ["end", "expired"]);
  const events = reader.events.slice(0, -1);
  for (const [at, who] of publishers.entries()) {
    const numbers = events
      .filter(({ data }) => data.subject === `lab.numbers.${who}`)
      .map(({ data }) => Number(data.data));
    assert.deepEqual(
      numbers,
      Array.from({ length: sent[at] ?? 0 }, (_, n) => n),
    );
  }
  assert.equal(events.length, total);
  assert(events.every(({ data }) => (data.sender as JsonObject).verified === true));
});

test("a request that is in flight while its credential is renewed is answered", async () => {
  const subscription = stack.admin.subscribe("lab.patience", { max: 1 });
  await stack.admin.flush();
  // Anew, so that it is known when the credential of bob's connection was minted.
  await stack.restartGateway();
  const token = tokenFor("bob", LIFE_SECONDS);
  await stack.call("/v1/publish?subject=lab.first", { method: "POST", token });
  // Before 60 % of the shortest life that the credential can have; answered after 70 % of the longest.
  await delay(0.55 * LIFE_SECONDS * 1000);
  const newer = tokenFor("bob", 60);
  const asking = stack.call("/v1/request?subject=lab.patience&timeout=10s", { method: "POST", token: newer });
  for await (const message of subscription) {
    await delay(0.33 * LIFE_SECONDS * 1000);
    message.respond("at last");
  }
  const answer = await asking;
  assert.deepEqual([answer.status, answer.text], [200, "at last"]);
  const [, completion] = await stack.auditOf(answer.headers["x-request-id"], 2);
  assert.equal(completion?.outcome, "replied");
});

test("nats-server refused nothing, and no connection broke under a message", () => {
  const completions = stack.audit().filter(({ kind }) => kind === "completion");
  const outcomes = new Set(completions.map(({ outcome }) => outcome));
  assert.deepEqual([...outcomes].sort(), ["ended", "received", "replied"]);
});
