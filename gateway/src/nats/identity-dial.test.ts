import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { createDial, type Dial } from "./dial.ts";
import {
  identityDialOf,
  startCluster,
  type TestCluster,
  testClock,
  until,
  userOf,
} from "./testing/cluster.ts";

let cluster: TestCluster;
before(async () => {
  cluster = await startCluster();
});
after(() => cluster.close());

const { identity, grant } = userOf("ada");

test("dialLink() tries once in a while when no server can be reached, and refuses the others at once", async () => {
  const nowhere = createDial({ servers: ["nats://127.0.0.1:1"] });
  let dialled = 0;
  let dial: Dial = nowhere;
  const { dialLink } = identityDialOf(cluster, {
    dial(as) {
      dialled += 1;
      return dial(as);
    },
  });
  for (let times = 0; times < 200; times++) {
    const link = await dialLink(identity, grant, {});
    assert.ok(!link.ok && link.refusal.reason === "nats_unavailable");
    assert.match(link.refusal.why, /connection refused/);
  }
  assert.ok(dialled >= 1 && dialled < 20, String(dialled));
  dial = cluster.dial;
  // One who may have no credential must not use up the try.
  await delay(150);
  const over = userOf("over", { seconds: -10 });
  assert.equal((await dialLink(over.identity, over.grant, {})).ok, false);
  await until(async () => {
    await delay(20);
    const link = await dialLink(identity, grant, {});
    if (link.ok) await link.value.close();
    return link.ok;
  }, 1_000);
});

test("dialLink() does not make others wait for one identity whose credential is refused", async () => {
  let now = 0;
  const { dialLink } = identityDialOf(cluster, { clock: () => now });
  const old = userOf("old", { clock: () => now, seconds: 10 });
  const refusal = await dialLink(old.identity, old.grant, {});
  assert.ok(!refusal.ok && refusal.refusal.reason === "nats_unavailable");
  assert.match(refusal.refusal.why, /Authorization Violation/);
  now = testClock();
  const link = await dialLink(identity, grant, {});
  assert.ok(link.ok);
  await link.value.close();
});

test("dialLink() passes on why no credential may be made", async () => {
  const { dialLink, nextExpiry } = identityDialOf(cluster);
  const over = userOf("over", { seconds: -10 });
  for (const outcome of [
    await dialLink(over.identity, over.grant, {}),
    nextExpiry(over.identity, over.grant),
  ])
    assert.equal(!outcome.ok && outcome.refusal.reason, "proof_expired");
});
