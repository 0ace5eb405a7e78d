import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import type { Presented, Proof } from "./identity.ts";
import { sessionHashOf } from "./session-proof.ts";
import { startHostileProvider } from "./testing/hostile-provider.ts";
import { testSession } from "./testing/session-suite.ts";

const now = testSession().signedInAt + 100;
const id = randomBytes(32).toString("base64url");
const session: Proof = { kind: "session", id };
const cookies = ["__Host-Http-countersign-bus=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax"];

function present(proofs: readonly Proof[], origin: string | null = "https://apps.example.com"): Presented {
  return { method: "POST", origin, fetchSite: null, navigation: false, deliberate: false, proofs };
}

test("logout() ends the session everywhere and names the provider's place", async () => {
  await using provider = await startHostileProvider();
  const hash = sessionHashOf(id);
  await provider.sessions.create(testSession({ hash }));
  assert.deepEqual(await provider.signIn.logout({ presented: present([session]), now }), {
    ok: true,
    value: {
      cookies,
      location:
        `${provider.issuer.url}/end?keep=1&client_id=gw` +
        "&post_logout_redirect_uri=https%3A%2F%2Fapps.example.com%2Fbus%2F&logout_hint=sid-1",
    },
  });
  assert.equal(await provider.sessions.get(hash), undefined);
  assert.equal(provider.sessions.notBefore({ session: hash }), now);
});

test("logout() signs nobody out for another site", async () => {
  await using provider = await startHostileProvider();
  const hash = sessionHashOf(id);
  await provider.sessions.create(testSession({ hash }));
  for (const origin of ["https://evil.example", "null", null]) {
    const outcome = await provider.signIn.logout({ presented: present([session], origin), now });
    assert.deepEqual(outcome, { ok: false, refusal: { reason: "cross_site", origin, fetchSite: null } });
  }
  assert.notEqual(await provider.sessions.get(hash), undefined);
  assert.equal(provider.sessions.notBefore({ session: hash }), undefined);
});

test("logout() wants a session cookie, and forgets one of a session that is gone", async () => {
  await using provider = await startHostileProvider();
  const missing = await provider.signIn.logout({ presented: present([{ kind: "bearer", token: "t" }]), now });
  assert.deepEqual(missing, { ok: false, refusal: { reason: "proof_missing" } });
  const gone = await provider.signIn.logout({ presented: present([session]), now });
  assert.deepEqual(gone, { ok: true, value: { cookies } });
  assert.equal(provider.sessions.notBefore({ session: sessionHashOf(id) }), undefined, "nothing was written");
});

test("logout() ends the session although the provider does not answer, or leads elsewhere", async () => {
  for (const place of ["javascript:alert(1)", "https://evil.example/", 7, undefined]) {
    await using provider = await startHostileProvider();
    provider.issuer.discovery.end_session_endpoint = place;
    if (place === undefined) await provider.issuer.stop();
    await provider.sessions.create(testSession({ hash: sessionHashOf(id) }));
    const outcome = await provider.signIn.logout({ presented: present([session]), now });
    assert.deepEqual(outcome, { ok: true, value: { cookies } });
    assert.equal(await provider.sessions.get(sessionHashOf(id)), undefined);
  }
});

test("logout() says so when the session could not be ended", async () => {
  await using provider = await startHostileProvider();
  provider.sessions.failure = new Error("no quorum");
  assert.deepEqual(await provider.signIn.logout({ presented: present([session]), now }), {
    ok: false,
    refusal: { reason: "check_unavailable", check: "sessions", why: "no quorum" },
  });
});
