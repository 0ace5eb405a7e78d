import assert from "node:assert/strict";
import { test } from "node:test";
import type { Identity } from "./identity/identity.ts";
import type { Grant } from "./policy/grant.ts";
import { createRate } from "./rate.ts";

const ada = { user: "test-ada" } as Identity;
const bob = { user: "test-bob" } as Identity;
const adasAgent = { user: "test-ada", actor: { user: "test-agent" } } as Identity;

function grantOf(ratePerSecond?: number): Grant {
  return { limits: { ...(ratePerSecond !== undefined && { ratePerSecond }) } } as Grant;
}

const late = { ok: false, refusal: { reason: "rate_limited", perSecond: 2, retryAfterSeconds: 1 } };

test("createRate() lets a second's worth through at once, then refuses until some has come back", () => {
  const withinRate = createRate();
  const grant = grantOf(2);
  assert.equal(withinRate(ada, grant, 0).ok, true);
  assert.equal(withinRate(ada, grant, 0).ok, true);
  assert.deepEqual(withinRate(ada, grant, 0.4), late);
  assert.equal(withinRate(ada, grant, 0.5).ok, true);
  assert.deepEqual(withinRate(ada, grant, 0.5), late);
});

test("createRate() saves up no more than a second's worth", () => {
  const withinRate = createRate();
  const outcomes = [0, 3_600, 3_600, 3_600].map((now) => withinRate(ada, grantOf(2), now).ok);
  assert.deepEqual(outcomes, [true, true, true, false]);
});

test("createRate() keeps users apart, and an agent from whom it acts for", () => {
  const withinRate = createRate();
  for (const identity of [ada, bob, adasAgent]) {
    assert.equal(withinRate(identity, grantOf(1), 0).ok, true);
    assert.equal(withinRate(identity, grantOf(1), 0).ok, false);
  }
});

test("createRate() neither takes nor gives when the clock steps back", () => {
  const withinRate = createRate();
  withinRate(ada, grantOf(1), 1_000);
  assert.equal(withinRate(ada, grantOf(1), 0).ok, false);
  assert.equal(withinRate(ada, grantOf(1), 1).ok, true);
});

test("createRate() counts nothing where the grant has no rate", () => {
  const withinRate = createRate();
  for (let n = 0; n < 10; n++)
    assert.deepEqual(withinRate(ada, grantOf(), 0), { ok: true, value: undefined });
});

test("createRate() remembers a bounded number of users, and forgets the longest unseen", () => {
  const withinRate = createRate();
  const grant = grantOf(1);
  withinRate(ada, grant, 0);
  withinRate(bob, grant, 0);
  assert.equal(withinRate(ada, grant, 0).ok, false);
  // With ada and bob as many as are remembered; one more, and bob goes, who was seen before ada.
  for (let n = 0; n < 65_536 - 1; n++) withinRate({ user: `test-${n}` } as Identity, grant, 0);
  assert.equal(withinRate(ada, grant, 0).ok, false);
  assert.equal(withinRate(bob, grant, 0).ok, true);
});
