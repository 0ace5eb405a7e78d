import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, before, test } from "node:test";
import { allowed, type Outcome, type Refusal } from "../refusal.ts";
import { createVerifyBearer } from "./bearer.ts";
import { createIdentify, type Identify, type VerifyCredential } from "./identify.ts";
import type { Identity, Presented, Proof } from "./identity.ts";
import { createIssuers } from "./issuer.ts";
import type { Session } from "./session.ts";
import {
  createSessionStands,
  createVerifySession,
  type RenewSession,
  sessionHashOf,
  upstreamSessionHashOf,
} from "./session-proof.ts";
import { startTestIssuer, type TestIssuer } from "./testing/issuer.ts";
import { createMemorySessions } from "./testing/memory-sessions.ts";
import { testSession } from "./testing/session-suite.ts";

const now = 1_790_000_100;
let issuer: TestIssuer;
before(async () => {
  issuer = await startTestIssuer();
});
after(() => issuer.stop());

interface Bench {
  readonly identify: Identify;
  readonly sessions: ReturnType<typeof createMemorySessions>;
  /** Signs a session in; @returns its cookie value. */
  signIn(overrides?: Partial<Session>): Promise<string>;
}

function benchOf(
  renew: RenewSession = () => assert.fail("no renewal expected"),
  idleSeconds = 1_800,
  verifyCredential?: VerifyCredential,
): Bench {
  const sessions = createMemorySessions();
  const issuers = createIssuers([{ name: "demo", url: issuer.url, audience: "countersign" }]);
  const identify = createIdentify({
    verifyBearer: createVerifyBearer({ issuers }),
    verifySession: createVerifySession({ issuers, sessions, renew, idleSeconds, graceSeconds: 3_600 }),
    sessionStands: createSessionStands({ sessions, idleSeconds }),
    ...(verifyCredential && { verifyCredential }),
    notBefore: (key) => sessions.notBefore(key),
    origins: ["https://apps.example.com"],
  });
  return {
    identify,
    sessions,
    async signIn(overrides) {
      const id = randomBytes(32).toString("base64url");
      const { refreshAt: _1, upstreamSid: _2, ...session } = testSession();
      await sessions.create({ ...session, ...overrides, hash: sessionHashOf(id) });
      return id;
    },
  };
}

function present(proofs: readonly Proof[], overrides: Partial<Presented> = {}): Presented {
  const browser = { origin: null, fetchSite: "same-origin", navigation: false, deliberate: false };
  return { method: "GET", ...browser, proofs, ...overrides };
}

function bearer(claims: Record<string, unknown> = {}): Proof {
  const good = {
    iss: issuer.url,
    aud: "countersign",
    sub: "alice",
    client_id: "spa",
    iat: now - 60,
    exp: now + 600,
  };
  return { kind: "bearer", token: issuer.sign({ ...good, ...claims }) };
}

function refusalOf(outcome: Outcome<Identity>): Refusal | undefined {
  return outcome.ok ? undefined : outcome.refusal;
}

test("identify() refuses a request without proof", () => {
  assert.deepEqual(benchOf().identify(present([]), now), { ok: false, refusal: { reason: "proof_missing" } });
});

test("identify() reads an Identity from a session", async () => {
  const { identify, signIn } = benchOf();
  const id = await signIn();
  const { identity, endsAt } = testSession();
  assert.deepEqual(await identify(present([{ kind: "session", id }]), now), {
    ok: true,
    value: { ...identity, proof: { kind: "session", hash: sessionHashOf(id) }, expiresAt: endsAt },
  });
});

test("identify() asks the ambient rule of everything that a hop vouches for, and whether its user signed out", async () => {
  const { sessions } = benchOf();
  const proofs: readonly Proof[] = [
    { kind: "windows", signed: { signedAt: now, nonce: "0", method: "GET" } },
    { kind: "certificate", der: Buffer.from("der") },
    { kind: "easy-auth", principal: "abc" },
  ];
  const identity: Identity = {
    user: "iis-S-1",
    issuer: "iis",
    id: "S-1",
    kind: "user",
    attributes: {},
    proof: { kind: "windows", hash: "h" },
    provedAt: now,
    expiresAt: now + 60,
  };
  const parts = {
    verifyBearer: () => assert.fail("no bearer"),
    notBefore: sessions.notBefore,
    origins: ["https://apps.example.com"],
  };
  const identify = createIdentify({ ...parts, verifyVouched: () => ({ ok: true, value: identity }) });
  for (const proof of proofs) {
    const crossSite = await identify(present([proof], { fetchSite: "cross-site" }), now);
    assert.equal(refusalOf(crossSite)?.reason, "cross_site", proof.kind);
    assert.equal(refusalOf(await identify(present([proof], { fetchSite: null }), now))?.reason, "cross_site");
    assert.deepEqual(await identify(present([proof]), now), { ok: true, value: identity });
    const unknown = await createIdentify(parts)(present([proof]), now);
    assert.deepEqual(refusalOf(unknown), { reason: "issuer_unknown", issuer: proof.kind });
  }
  await sessions.raiseNotBefore({ user: identity.user }, now);
  const [windows] = proofs;
  assert(windows);
  assert.equal(refusalOf(await identify(present([windows]), now))?.reason, "proof_revoked");
});

test("identify() gives the same Identity object while a session does not change", async () => {
  const { identify, signIn } = benchOf();
  const asked = present([{ kind: "session", id: await signIn() }]);
  assert.equal(await identify(asked, now - 90), await identify(asked, now - 80));
});

test("identify() answers a remembered bearer without a promise", async () => {
  const { identify } = benchOf();
  const asked = present([bearer()], { fetchSite: "cross-site" });
  const first = await identify(asked, now);
  assert.equal(first.ok, true);
  assert.equal(identify(asked, now), first);
});

test("identify() asks the ambient rule of a cookie before anything else, and never of a bearer", async () => {
  const { identify, sessions, signIn } = benchOf();
  const id = await signIn();
  for (const proofs of [[{ kind: "session", id } as const], [bearer(), { kind: "session", id } as const]]) {
    sessions.failure = new Error("not to be asked");
    const asked = present(proofs, { origin: "https://evil.example" });
    const refusal: Refusal = {
      reason: "cross_site",
      origin: "https://evil.example",
      fetchSite: "same-origin",
    };
    assert.deepEqual(identify(asked, now), { ok: false, refusal });
  }
  sessions.failure = undefined;
  assert.equal((await identify(present([bearer()], { origin: "https://evil.example" }), now)).ok, true);
});

test("identify() refuses proofs of two users, however good each is", async () => {
  const { identify, signIn } = benchOf();
  const id = await signIn();
  const outcome = await identify(present([{ kind: "session", id }, bearer({ sub: "bob" })]), now);
  assert.deepEqual(refusalOf(outcome), { reason: "proof_ambiguous", users: ["demo-alice", "demo-bob"] });
});

test("identify() goes by the bearer when both proofs are one user's", async () => {
  const { identify, signIn } = benchOf();
  const id = await signIn();
  const outcome = await identify(present([{ kind: "session", id }, bearer()]), now);
  assert.equal(outcome.ok && outcome.value.proof.kind, "bearer");
});

test("identify() refuses a request with one good and one bad proof", async () => {
  const { identify, signIn } = benchOf();
  const id = await signIn();
  const unknown: Proof = { kind: "session", id: randomBytes(32).toString("base64url") };
  assert.deepEqual(refusalOf(await identify(present([unknown, bearer()]), now)), {
    reason: "session_unknown",
  });
  const expired = bearer({ exp: now });
  const refusal = { reason: "proof_expired", expiredAt: now, now } as const;
  assert.deepEqual(refusalOf(await identify(present([{ kind: "session", id }, expired]), now)), refusal);
});

test("identify() refuses cookies as unknown where nobody can sign in", async () => {
  const issuers = createIssuers([{ name: "demo", url: issuer.url, audience: "countersign" }]);
  const identify = createIdentify({
    verifyBearer: createVerifyBearer({ issuers }),
    notBefore: () => undefined,
    origins: [],
  });
  const asked = present([{ kind: "session", id: "x" }]);
  assert.deepEqual(await identify(asked, now), { ok: false, refusal: { reason: "session_unknown" } });
});

test("identify() refuses an unknown session, an idle one and one at its end", async () => {
  const { identify, signIn } = benchOf();
  const { signedInAt, endsAt } = testSession();
  const judge = async (id: string, at: number): Promise<Refusal | undefined> =>
    refusalOf(await identify(present([{ kind: "session", id }]), at));
  assert.deepEqual(await judge("unknown", now), { reason: "session_unknown" });
  const id = await signIn();
  const idle = { reason: "session_idle", idleSince: signedInAt, now: signedInAt + 1_800 } as const;
  assert.deepEqual(await judge(id, signedInAt + 1_800), idle);
  const used = await signIn({ lastSeenAt: endsAt - 10 });
  assert.equal(await judge(used, endsAt - 1), undefined);
  assert.deepEqual(await judge(used, endsAt), { reason: "proof_expired", expiredAt: endsAt, now: endsAt });
});

test("identify() refuses a session of an issuer that is no longer configured", async () => {
  const { identify, signIn } = benchOf();
  const id = await signIn({ identity: { ...testSession().identity, issuer: "former" } });
  const refusal: Refusal = { reason: "issuer_unknown", issuer: "former" };
  assert.deepEqual(refusalOf(await identify(present([{ kind: "session", id }]), now)), refusal);
});

test("identify() marks a session as used, once a minute at most", async () => {
  const { identify, sessions, signIn } = benchOf();
  const { signedInAt } = testSession();
  const id = await signIn();
  let updates = 0;
  const { update } = sessions;
  sessions.update = (session, since) => {
    updates++;
    return update(session, since);
  };
  const use = (after: number) => identify(present([{ kind: "session", id }]), signedInAt + after);
  for (const after of [1, 59]) await use(after);
  await Promise.all([use(60), use(60), use(60)]);
  for (const after of [61, 119, 120]) await use(after);
  assert.equal(updates, 2);
  assert.equal((await sessions.get(sessionHashOf(id)))?.lastSeenAt, signedInAt + 120);
});

test("identify() lets no session idle out that is used all the time, however short the limit", async () => {
  const { identify, signIn } = benchOf(undefined, 60);
  const { signedInAt } = testSession();
  const id = await signIn();
  for (let after = 0; after < 600; after += 20) {
    assert.equal((await identify(present([{ kind: "session", id }]), signedInAt + after)).ok, true);
  }
});

test("identify() goes on with a session whose mark of use cannot be written", async () => {
  const { identify, sessions, signIn } = benchOf();
  const id = await signIn();
  sessions.update = () => Promise.reject(new Error("read-only"));
  assert.equal((await identify(present([{ kind: "session", id }]), now)).ok, true);
});

test("identify() refuses what was proved at or before the user's sign-out, remembered tokens too", async () => {
  const { identify, sessions, signIn } = benchOf();
  const token = present([bearer()]);
  const cookie = present([{ kind: "session", id: await signIn() }]);
  assert.equal((await identify(token, now)).ok, true);
  assert.equal((await identify(cookie, now)).ok, true);
  await sessions.raiseNotBefore({ user: "demo-alice" }, now - 60);
  const refusal = { reason: "proof_revoked", notBefore: now - 60, provedAt: now - 60 } as const;
  assert.deepEqual(await identify(token, now), { ok: false, refusal });
  assert.deepEqual(refusalOf(await identify(cookie, now)), { ...refusal, provedAt: now - 100 });
  assert.equal((await identify(present([bearer({ iat: now - 59 })]), now)).ok, true, "proved after it");
  assert.equal((await identify(present([bearer({ sub: "bob" })]), now)).ok, true, "somebody else");
});

test("identify() refuses a session that was signed out, and not the user's other one", async () => {
  const { identify, sessions, signIn } = benchOf();
  const [one, other] = [await signIn(), await signIn()];
  await sessions.raiseNotBefore({ session: sessionHashOf(one) }, now - 1);
  const refusal = { reason: "proof_revoked", notBefore: now - 1, provedAt: now - 100 } as const;
  assert.deepEqual(refusalOf(await identify(present([{ kind: "session", id: one }]), now)), refusal);
  assert.equal((await identify(present([{ kind: "session", id: other }]), now)).ok, true);
});

test("identify() refuses a session whose provider's session was signed out", async () => {
  const { identify, sessions, signIn } = benchOf();
  const id = await signIn({ upstreamSid: "sid-1" });
  const other = await signIn({ upstreamSid: "sid-2" });
  await sessions.raiseNotBefore({ session: upstreamSessionHashOf("demo", "sid-1") }, now - 1);
  await sessions.raiseNotBefore({ session: upstreamSessionHashOf("other", "sid-2") }, now - 1);
  const refusal = { reason: "proof_revoked", notBefore: now - 1, provedAt: now - 100 } as const;
  assert.deepEqual(refusalOf(await identify(present([{ kind: "session", id }]), now)), refusal);
  assert.equal((await identify(present([{ kind: "session", id: other }]), now)).ok, true);
});

test("identify() refuses a token whose actor was signed out", async () => {
  const { identify, sessions } = benchOf();
  const asked = present([bearer({ act: { sub: "agent" } })]);
  assert.equal((await identify(asked, now)).ok, true);
  await sessions.raiseNotBefore({ user: "demo-agent" }, now);
  assert.equal(refusalOf(await identify(asked, now))?.reason, "proof_revoked");
});

test("identify() refuses when sessions or sign-outs cannot be looked up, and never rejects", async () => {
  const { identify, sessions, signIn } = benchOf();
  const cookie = present([{ kind: "session", id: await signIn() }]);
  const token = present([bearer()]);
  assert.equal((await identify(token, now)).ok, true);
  sessions.failure = new Error("the watch is not current");
  const refusal: Refusal = {
    reason: "check_unavailable",
    check: "sessions and sign-outs",
    why: "the watch is not current",
  };
  assert.deepEqual(identify(token, now), { ok: false, refusal });
  assert.deepEqual(await identify(cookie, now), { ok: false, refusal });
  const both = present([...token.proofs, ...cookie.proofs]);
  assert.deepEqual(await identify(both, now), { ok: false, refusal });
});

test("identify() renews a session when it is due, and lets nothing outlive its renewal and the grace", async () => {
  const { signedInAt } = testSession();
  let asked = 0;
  const { identify, signIn } = benchOf(async (session, id, at) => {
    asked++;
    assert.deepEqual([session.hash, at], [sessionHashOf(id), signedInAt + 600]);
    return { ok: true, value: { ...session, refreshAt: at + 600 } };
  });
  const cookie = present([{ kind: "session", id: await signIn({ refreshAt: signedInAt + 600 }) }]);
  const early = await identify(cookie, signedInAt + 599);
  assert.equal(early.ok && early.value.expiresAt, signedInAt + 600 + 3_600);
  assert.equal(asked, 0);
  const late = await identify(cookie, signedInAt + 600);
  assert.equal(late.ok && late.value.expiresAt, signedInAt + 1_200 + 3_600);
  assert.equal(asked, 1);
});

const SHOWN: Proof = { kind: "credential", jwt: "j", nonce: "n", sig: "s" };

test("identify() takes a credential for the proof it was given for, as long as that stands", async () => {
  let identity: Identity | undefined;
  const bench = benchOf(undefined, undefined, () => (identity ? allowed(identity) : assert.fail("none")));
  const id = await bench.signIn();
  const own = await bench.identify(present([{ kind: "session", id }]), now);
  assert.ok(own.ok);
  identity = own.value;
  // No page sends it, so that it counts without what an ambient proof needs.
  const shown = present([SHOWN], { fetchSite: null });
  assert.deepEqual(await bench.identify(shown, now), own);
  // The session is gone from the store, by whatever way: nothing that was made from it gets in.
  await bench.sessions.delete(sessionHashOf(id));
  const gone = await bench.identify(shown, now);
  assert.deepEqual(gone, { ok: false, refusal: { reason: "session_unknown" } });
});

test("identify() refuses a credential made before its user was signed out, and all where none are given", async () => {
  const token = await bearerIdentity();
  const bench = benchOf(undefined, undefined, () => allowed(token));
  const shown = present([SHOWN]);
  assert.deepEqual(await bench.identify(shown, now), allowed(token));
  await bench.sessions.raiseNotBefore({ user: token.user }, token.provedAt);
  const out = await bench.identify(shown, now);
  assert.equal(!out.ok && out.refusal.reason, "proof_revoked");
  const none = await benchOf().identify(shown, now);
  assert.equal(!none.ok && none.refusal.reason, "proof_invalid");
});

async function bearerIdentity(): Promise<Identity> {
  const outcome = await benchOf().identify(present([bearer()]), now);
  assert.ok(outcome.ok);
  return outcome.value;
}
