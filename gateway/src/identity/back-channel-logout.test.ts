import assert from "node:assert/strict";
import { test } from "node:test";
import type { Outcome, Refusal } from "../refusal.ts";
import {
  type BackChannelLogout,
  createBackChannelLogout,
  type ProviderLogout,
} from "./back-channel-logout.ts";
import { createIssuers, type IssuerOptions } from "./issuer.ts";
import { upstreamSessionHashOf } from "./session-proof.ts";
import { startTestIssuer, type TestIssuer } from "./testing/issuer.ts";
import { createMemorySessions } from "./testing/memory-sessions.ts";

const now = 1_800_000_000;
const events = { "http://schemas.openid.net/event/backchannel-logout": {} };
let jti = 0;

interface Bench {
  readonly issuer: TestIssuer;
  readonly sessions: ReturnType<typeof createMemorySessions>;
  readonly logout: BackChannelLogout;
  judge(claims?: object): Promise<ProviderLogout>;
  send(claims?: object, header?: Record<string, unknown>, at?: number): Promise<Outcome<void>>;
  token(claims?: object, header?: Record<string, unknown>): string;
  [Symbol.asyncDispose](): Promise<void>;
}

async function startBench(options: Partial<IssuerOptions> = {}): Promise<Bench> {
  const issuer = await startTestIssuer();
  const sessions = createMemorySessions();
  const client = { id: "gw", secret: () => "s" };
  const issuers = createIssuers([
    { name: "demo", url: issuer.url, audience: "countersign", client, ...options },
  ]);
  const logout = createBackChannelLogout({ issuers, sessions });
  const token: Bench["token"] = (claims, header) => {
    const good = {
      iss: issuer.url,
      aud: "gw",
      sub: "alice",
      iat: now - 60,
      exp: now + 60,
      jti: `${jti++}`,
      events,
    };
    return issuer.sign({ ...good, ...claims }, { typ: "logout+jwt", ...header });
  };
  return {
    issuer,
    sessions,
    logout,
    token,
    async judge(claims) {
      const judged = await logout.judge({ logoutToken: token(claims), now });
      return judged.ok ? judged.value : assert.fail(JSON.stringify(judged.refusal));
    },
    send: (claims, header, at = now) => judgeAndDo(logout, token(claims, header), at),
    [Symbol.asyncDispose]: () => issuer.stop(),
  };
}

async function judgeAndDo(
  logout: BackChannelLogout,
  logoutToken: string,
  at: number,
): Promise<Outcome<void>> {
  const judged = await logout.judge({ logoutToken, now: at });
  return judged.ok ? await logout.signOut(judged.value) : judged;
}

const done = { ok: true, value: undefined };
function invalid(why: string): Refusal {
  return { reason: "proof_invalid", why };
}

test("backChannelLogout() signs the user out when no session is named, up to the token's time", async () => {
  await using bench = await startBench();
  assert.deepEqual(await bench.send(), done);
  // Its iat, 60 s ago, and 30 s of clock difference.
  assert.equal(bench.sessions.notBefore({ user: "demo-alice" }), now - 30);
});

test("backChannelLogout() signs the named session out and not the user", async () => {
  await using bench = await startBench();
  assert.deepEqual(await bench.send({ sid: "sid-1", iat: now }), done);
  assert.equal(bench.sessions.notBefore({ user: "demo-alice" }), undefined);
  assert.equal(bench.sessions.notBefore({ session: upstreamSessionHashOf("demo", "sid-1") }), now);
  assert.deepEqual(await bench.send({ sid: "sid-2", sub: undefined }), done);
  assert.equal(bench.sessions.notBefore({ session: upstreamSessionHashOf("demo", "sid-2") }), now - 30);
});

test("backChannelLogout() refuses whatever is no logout token for us", async () => {
  await using bench = await startBench();
  for (const [claims, refusal] of [
    [{ aud: "other" }, { reason: "audience_mismatch", expected: "gw", found: ["other"] }],
    [{ aud: ["gw", "x"] }, { reason: "audience_mismatch", expected: "gw", found: ["gw", "x"] }],
    [{ iss: "https://evil.example" }, { reason: "issuer_unknown", issuer: "https://evil.example" }],
    [{ iss: {} }, { reason: "issuer_unknown", issuer: "" }],
    [{ exp: now }, { reason: "proof_expired", expiredAt: now, now }],
    [{ iat: now + 31 }, { reason: "proof_not_yet_valid", validFrom: now + 31, now }],
    [{ exp: now + 3_600 }, invalid("it lives too long")],
    [{ exp: undefined }, invalid("iat, exp or nbf is missing or no time")],
    [{ nonce: "n" }, invalid("claim nonce belongs to another kind of token")],
    [{ events: undefined }, invalid("its event is not a logout")],
    [
      { events: { "http://schemas.openid.net/event/backchannel-logout": "x" } },
      invalid("its event is not a logout"),
    ],
    [{ events: { other: {} } }, invalid("its event is not a logout")],
    [{ events: [] }, invalid("its event is not a logout")],
    [{ jti: undefined }, invalid("its id (jti) is missing")],
    [{ jti: "x".repeat(257) }, invalid("its id (jti) is missing")],
    [{ sub: undefined }, invalid("it names neither a session nor a user")],
    [{ sub: "" }, invalid("it names neither a session nor a user")],
    [{ padding: "x".repeat(8_192) }, invalid("a token over the size limit")],
  ] as const) {
    assert.deepEqual(await bench.send(claims), { ok: false, refusal }, JSON.stringify(claims));
  }
  for (const typ of ["JWT", undefined, "at+jwt", "txntoken+jwt"]) {
    const refusal = invalid("its type is not that of a logout token");
    assert.deepEqual(await bench.send({}, { typ }), { ok: false, refusal });
  }
  const [head, , tail] = bench.token().split(".");
  const [, body] = bench.token({ sub: "bob" }).split(".");
  const forged = await bench.logout.judge({ logoutToken: `${head}.${body}.${tail}`, now });
  assert.deepEqual(forged, { ok: false, refusal: invalid("signature") });
  assert.equal(bench.sessions.notBefore({ user: "demo-alice" }), undefined);
  assert.equal(bench.sessions.notBefore({ user: "demo-bob" }), undefined);
});

test("backChannelLogout() judges without signing anybody out, and names whom it would", async () => {
  await using bench = await startBench();
  const { id, ...bySid } = await bench.judge({ sid: "sid-1" });
  assert.match(id, /^[A-Za-z0-9_-]{43}$/);
  const session = upstreamSessionHashOf("demo", "sid-1");
  // 30 s of clock difference: added to its iat, 60 s ago, and to its exp, in 60 s.
  const usual = { issuer: "demo", notBefore: now - 30, rememberSeconds: 90 };
  assert.deepEqual(bySid, { ...usual, key: { session }, user: "demo-alice" });
  const { id: other, ...byUser } = await bench.judge();
  assert.deepEqual(byUser, { ...usual, key: { user: "demo-alice" }, user: "demo-alice" });
  assert.notEqual(other, id);
  assert.equal(bench.sessions.notBefore({ session }), undefined);
  assert.equal(bench.sessions.notBefore({ user: "demo-alice" }), undefined);
  assert.equal(await bench.sessions.isRemembered(id), false);
});

test("backChannelLogout() takes each token once, on all instances together", async () => {
  await using bench = await startBench();
  const client = { id: "gw", secret: () => "s" };
  const issuers = createIssuers([{ name: "demo", url: bench.issuer.url, audience: "x", client }]);
  const elsewhere = createBackChannelLogout({ issuers, sessions: bench.sessions });
  // Its time and the clock difference reach into the future, so that a copy could end what begins now.
  const logoutToken = bench.token({ iat: now });
  assert.deepEqual(await judgeAndDo(bench.logout, logoutToken, now), done);
  const refusal = invalid("it was used before");
  for (const instance of [bench.logout, elsewhere])
    assert.deepEqual(await judgeAndDo(instance, logoutToken, now + 20), { ok: false, refusal });
  assert.equal(bench.sessions.notBefore({ user: "demo-alice" }), now);
});

test("backChannelLogout() ends nothing that began after a copy was judged", async () => {
  await using bench = await startBench();
  const judged = await bench.judge({ iat: now });
  assert.deepEqual(await bench.logout.signOut(judged), done);
  assert.deepEqual(await bench.logout.signOut(judged), done);
  assert.equal(bench.sessions.notBefore({ user: "demo-alice" }), now);
});

test("backChannelLogout() can be sent again when it could not be written, and refuses what it cannot look up", async () => {
  await using bench = await startBench();
  const logoutToken = bench.token();
  const judged = await bench.judge();
  bench.sessions.failure = new Error("no quorum");
  const refusal: Refusal = { reason: "check_unavailable", check: "sign-outs", why: "no quorum" };
  assert.deepEqual(await judgeAndDo(bench.logout, logoutToken, now), { ok: false, refusal });
  assert.deepEqual(await bench.logout.signOut(judged), { ok: false, refusal });
  bench.sessions.failure = undefined;
  assert.equal(await bench.sessions.isRemembered(judged.id), false);
  assert.deepEqual(await judgeAndDo(bench.logout, logoutToken, now), done);
});

test("backChannelLogout() does not take Entra's sub for the id it knows users by", async () => {
  await using bench = await startBench({ entraTenant: "t" });
  const refusal = invalid("it names neither a session nor a user");
  assert.deepEqual(await bench.send(), { ok: false, refusal });
  assert.deepEqual(await bench.send({ sid: "sid-1" }), done);
});

test("backChannelLogout() takes none of an issuer at which nobody signs in", async () => {
  await using issuer = await startTestIssuer();
  const issuers = createIssuers([{ name: "demo", url: issuer.url, audience: "countersign" }]);
  const logout = createBackChannelLogout({ issuers, sessions: createMemorySessions() });
  const claims = { iss: issuer.url, aud: "gw", sub: "alice", iat: now, exp: now + 60, jti: "1", events };
  const outcome = await logout.judge({ logoutToken: issuer.sign(claims, { typ: "logout+jwt" }), now });
  assert.deepEqual(outcome, { ok: false, refusal: { reason: "issuer_unknown", issuer: issuer.url } });
});
