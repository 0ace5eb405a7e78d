import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import type { Outcome, Refusal } from "../refusal.ts";
import { sealRefreshToken } from "./finish-sign-in.ts";
import { createIdentify, type Identify } from "./identify.ts";
import type { Identity } from "./identity.ts";
import type { Session } from "./session.ts";
import { sessionHashOf } from "./session-proof.ts";
import { type HostileProvider, startHostileProvider } from "./testing/hostile-provider.ts";
import { testSession } from "./testing/session-suite.ts";

// openid-client reads the clock itself, so here time is the real one.
const now = Date.now() / 1000;

interface Bench extends HostileProvider {
  /** The session's cookie. */
  readonly id: string;
  readonly hash: string;
  whoIs(at?: number): Promise<Outcome<Identity>>;
  stored(): Promise<Session | undefined>;
}

/** A session that is due since `now`, with a grace of 15 minutes. */
async function startBench(): Promise<Bench> {
  const provider = await startHostileProvider({ options: { graceSeconds: 900 } });
  const id = randomBytes(32).toString("base64url");
  const hash = sessionHashOf(id);
  const at = { signedInAt: now - 600, lastSeenAt: now - 30, endsAt: now + 28_200, refreshAt: now };
  const sealedRefreshToken = sealRefreshToken(provider.refreshKey, "token-1", id, hash);
  const { upstreamSid: _, ...session } = testSession({ ...at, hash, sealedRefreshToken });
  await provider.sessions.create({ ...session, identity: { ...session.identity, provedAt: now - 600 } });
  const identify: Identify = createIdentify({
    verifyBearer: () => assert.fail(),
    verifySession: provider.signIn.verifySession,
    notBefore: (key) => provider.sessions.notBefore(key),
    origins: [],
  });
  const browser = {
    method: "GET",
    origin: null,
    fetchSite: "same-origin",
    navigation: false,
    deliberate: false,
  };
  return Object.assign(provider, {
    id,
    hash,
    whoIs: async (when = now) => identify({ ...browser, proofs: [{ kind: "session", id }] }, when),
    stored: () => provider.sessions.get(hash),
  });
}

/** A good answer of the token endpoint, with the next refresh token. */
function renewal(
  bench: Bench,
  claims: Record<string, unknown> = {},
  header: Record<string, unknown> = {},
): object {
  const idToken = bench.issuer.sign(bench.idClaims(now, claims), { typ: "JWT", ...header });
  return { id_token: idToken, refresh_token: "token-2", expires_in: 300 };
}

async function attributesOf(bench: Bench): Promise<unknown> {
  return { ...(await bench.stored())?.identity.attributes };
}

test("renewSession() takes over the provider's new word and its next refresh token", async () => {
  await using bench = await startBench();
  bench.answer = () => renewal(bench, { groups: ["Audit"], exp: now + 600 });
  const outcome = await bench.whoIs();
  assert.deepEqual(outcome.ok && { ...outcome.value.attributes }, { groups: ["Audit"] });
  assert.equal(outcome.ok && outcome.value.provedAt, now - 600);
  assert.equal(outcome.ok && outcome.value.expiresAt, now + 300 + 900);
  assert.equal(bench.tokenRequests[0]?.form.get("refresh_token"), "token-1");
  assert.equal((await bench.whoIs(now + 299)).ok, true);
  assert.equal(bench.tokenRequests.length, 1);
  assert.equal((await bench.whoIs(now + 300)).ok, true);
  assert.equal(bench.tokenRequests[1]?.form.get("refresh_token"), "token-2");
});

test("renewSession() keeps attributes and token where the provider sends no new ones", async () => {
  await using bench = await startBench();
  bench.answer = () => ({ expires_in: 1 });
  assert.equal((await bench.whoIs()).ok, true);
  assert.deepEqual(await attributesOf(bench), { ...testSession().identity.attributes });
  assert.equal((await bench.stored())?.refreshAt, now + 60, "a minute at least");
  assert.equal((await bench.whoIs(now + 60)).ok, true);
  assert.equal(bench.tokenRequests[1]?.form.get("refresh_token"), "token-1");
});

test("renewSession() loses no rotated token to a mark of use that comes in between", async () => {
  await using bench = await startBench();
  bench.answer = async () => {
    const session = (await bench.stored()) ?? assert.fail();
    assert.equal(await bench.sessions.update({ ...session, lastSeenAt: now + 1 }, session), true);
    return renewal(bench);
  };
  assert.equal((await bench.whoIs()).ok, true);
  assert.equal((await bench.stored())?.lastSeenAt, now + 1);
  bench.answer = () => renewal(bench);
  await bench.whoIs(now + 300);
  assert.equal(bench.tokenRequests[1]?.form.get("refresh_token"), "token-2");
});

test("renewSession() brings no session back that was signed out meanwhile", async () => {
  await using bench = await startBench();
  bench.answer = async () => {
    await bench.sessions.delete(bench.hash);
    return renewal(bench);
  };
  assert.deepEqual(await bench.whoIs(), { ok: false, refusal: { reason: "session_unknown" } });
  assert.equal(await bench.stored(), undefined);
});

test("renewSession() leaves a session alone that another instance is renewing, or has just renewed", async () => {
  await using bench = await startBench();
  assert.equal(await bench.sessions.lockRefresh(bench.hash, 30), true);
  assert.equal((await bench.whoIs()).ok, true);
  await bench.sessions.unlockRefresh(bench.hash);
  const { lockRefresh } = bench.sessions;
  bench.sessions.lockRefresh = async (hash, seconds) => {
    const session = (await bench.stored()) ?? assert.fail();
    await bench.sessions.update({ ...session, refreshAt: now + 300 }, session);
    return lockRefresh(hash, seconds);
  };
  const outcome = await bench.whoIs();
  assert.equal(outcome.ok && outcome.value.expiresAt, now + 1_200);
  assert.deepEqual(bench.tokenRequests, []);
  bench.sessions.lockRefresh = lockRefresh;
  assert.equal(await lockRefresh(bench.hash, 30), true, "the lock was given back");
});

test("renewSession() ends the session when the provider says no, or speaks of another user", async () => {
  for (const answer of [() => new Error("invalid_grant"), (bench: Bench) => renewal(bench, { sub: "bob" })]) {
    await using bench = await startBench();
    bench.answer = () => answer(bench);
    const refusal: Refusal = { reason: "proof_revoked", notBefore: now, provedAt: now - 600 };
    assert.deepEqual(await bench.whoIs(), { ok: false, refusal });
    assert.equal(await bench.stored(), undefined);
    assert.equal(bench.sessions.notBefore({ session: bench.hash }), now);
  }
});

test("renewSession() ends the session when the provider's new word cannot be accepted", async () => {
  await using bench = await startBench();
  bench.answer = () => renewal(bench, { hasgroups: true });
  const refusal: Refusal = { reason: "groups_overage", issuer: "demo", claim: "groups" };
  assert.deepEqual(await bench.whoIs(), { ok: false, refusal });
  assert.equal(await bench.stored(), undefined);
});

test("renewSession() ends a session whose refresh token does not open: moved from another, or changed", async () => {
  await using bench = await startBench();
  const session = (await bench.stored()) ?? assert.fail();
  const sealedRefreshToken = sealRefreshToken(bench.refreshKey, "token-1", bench.id, testSession().hash);
  await bench.sessions.update({ ...session, sealedRefreshToken }, session);
  const outcome = await bench.whoIs();
  assert.equal(!outcome.ok && outcome.refusal.reason, "proof_revoked");
  assert.deepEqual(bench.tokenRequests, []);
});

test("renewSession() lets the session go on until the grace has passed, and leaves a failing provider alone", async () => {
  await using bench = await startBench();
  for (const answer of [() => new Error("invalid_client"), () => new Error("temporarily_unavailable")]) {
    bench.answer = answer;
    assert.equal((await bench.whoIs(now + 1)).ok, true);
  }
  assert.equal(bench.tokenRequests.length, 1, "asked once in five seconds");
  assert.equal((await bench.whoIs(now + 899)).ok, true);
  const refusal: Refusal = {
    reason: "check_unavailable",
    check: "session at demo",
    why: "temporarily_unavailable",
  };
  assert.deepEqual(await bench.whoIs(now + 905), { ok: false, refusal });
  assert.notEqual(await bench.stored(), undefined, "it may be renewed when the provider is back");
  bench.answer = () => renewal(bench, { exp: now + 2_000 });
  assert.equal((await bench.whoIs(now + 911)).ok, true);
});

test("renewSession() keeps the rotated token when the provider's keys cannot be had", async () => {
  await using bench = await startBench();
  bench.issuer.answers.set("/jwks", (_, response) => response.writeHead(500).end());
  bench.answer = () => renewal(bench);
  assert.equal((await bench.whoIs()).ok, true);
  assert.deepEqual(await attributesOf(bench), { ...testSession().identity.attributes });
  bench.issuer.answers.delete("/jwks");
  assert.equal((await bench.whoIs(now + 10)).ok, true);
  assert.equal(bench.tokenRequests[1]?.form.get("refresh_token"), "token-2");
  assert.deepEqual(await attributesOf(bench), { groups: ["Orders.Clerks"] });
});

test("renewSession() asks once for all requests of one session", async () => {
  await using bench = await startBench();
  bench.answer = () => renewal(bench);
  const outcomes = await Promise.all(Array.from({ length: 100 }, () => bench.whoIs()));
  const renewed = outcomes.filter((outcome) => outcome.ok && outcome.value.expiresAt === now + 1_200);
  assert.equal(renewed.length, 100, "all of them by the provider's new word");
  assert.equal(bench.tokenRequests.length, 1);
});

test("renewSession() refuses when the store fails on the way", async () => {
  await using bench = await startBench();
  bench.answer = () => {
    bench.sessions.failure = new Error("no quorum");
    return renewal(bench);
  };
  const refusal: Refusal = { reason: "check_unavailable", check: "sessions and sign-outs", why: "no quorum" };
  assert.deepEqual(await bench.whoIs(), { ok: false, refusal });
});
