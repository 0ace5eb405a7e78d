import assert from "node:assert/strict";
import { test } from "node:test";
import type { SignedIdentity } from "../hop/signed-identity.ts";
import { refused } from "../refusal.ts";
import { createMemorySessions } from "./testing/memory-sessions.ts";
import { createUseOnce } from "./used-once.ts";

const now = 1_790_000_000;
let count = 0;
function signed(overrides: Partial<SignedIdentity> = {}): SignedIdentity {
  count += 1;
  return { signedAt: now, nonce: count.toString(16).padStart(32, "0"), method: "GET", ...overrides };
}

const USED = refused({ reason: "proof_invalid", why: "an identity from IIS that was used before" });
const ALLOWED = { ok: true, value: undefined };

test("useOnce() takes a signature once, and the object it was opened to again and again", async () => {
  const useOnce = createUseOnce({ startedAt: now - 10 });
  const first = signed();
  assert.deepEqual(await useOnce(first, now), ALLOWED);
  assert.deepEqual(await useOnce(first, now + 30), ALLOWED);
  assert.deepEqual(await useOnce({ ...first }, now + 60), USED);
  assert.deepEqual(await useOnce({ ...first }, now + 120), USED);
});

test("useOnce() knows what another instance has used, and what this one used before it was restarted", async () => {
  const sessions = createMemorySessions();
  const rememberOnce = (key: string, seconds: number) => sessions.rememberOnce(key, seconds);
  const one = createUseOnce({ startedAt: now, rememberOnce });
  const other = createUseOnce({ startedAt: now + 1, rememberOnce });
  const first = signed();
  assert.deepEqual(await one(first, now), ALLOWED);
  assert.deepEqual(await other({ ...first }, now + 1), USED);
});

test("useOnce() refuses when it cannot know: the store fails, or more is used than can be remembered", async () => {
  const sessions = createMemorySessions();
  sessions.failure = new Error("no responders");
  const rememberOnce = (key: string, seconds: number) => sessions.rememberOnce(key, seconds);
  const check = "used signatures of IIS";
  assert.deepEqual(
    await createUseOnce({ startedAt: now, rememberOnce })(signed(), now),
    refused({ reason: "check_unavailable", check, why: "no responders" }),
  );
  const small = createUseOnce({ startedAt: now, rememberedMax: 2 });
  for (const each of [signed(), signed()]) assert.deepEqual(await small(each, now), ALLOWED);
  const full = refused({ reason: "check_unavailable", check, why: "more signatures than can be remembered" });
  assert.deepEqual(await small(signed(), now + 129), full);
  // What ended makes room: a signature of a minute ahead could be used for so long.
  assert.deepEqual(await small(signed({ signedAt: now + 130 }), now + 130), ALLOWED);
});

test("useOnce(), remembering here alone, refuses what was signed before it began: it may have been used then", async () => {
  const useOnce = createUseOnce({ startedAt: now });
  assert.deepEqual(
    await useOnce(signed({ signedAt: now - 0.001 }), now),
    refused({
      reason: "proof_invalid",
      why: "an identity from IIS that was signed before this process began",
    }),
  );
  assert.deepEqual(await useOnce(signed({ signedAt: now }), now), ALLOWED);
});
