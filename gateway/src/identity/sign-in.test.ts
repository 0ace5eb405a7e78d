import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, before, beforeEach, describe, test } from "node:test";
import { type Browser, createBrowser, signIn as signInWithBrowser } from "@countersign/devstack/browser.ts";
import { type IdentityProvider, startIdentityProvider } from "@countersign/devstack/oidc.ts";
import type { Outcome } from "../refusal.ts";
import { createVerifyBearer } from "./bearer.ts";
import { cookieNameOf } from "./cookie.ts";
import { sealRefreshToken } from "./finish-sign-in.ts";
import { createIdentify, type Identify } from "./identify.ts";
import type { Identity, Presented } from "./identity.ts";
import { createIssuers } from "./issuer.ts";
import { parsePresented } from "./present.ts";
import type { NotBeforeKey } from "./session.ts";
import { sessionHashOf } from "./session-proof.ts";
import { createSignIn, type SignIn } from "./sign-in.ts";
import { createMemorySessions } from "./testing/memory-sessions.ts";
import { type RelyingParty, startRelyingParty } from "./testing/relying-party.ts";

const refreshKey = randomBytes(32);
/** The time as the provider tells it, and how far the gateway's clock has been turned on. */
let ahead = 0;
const clock = (): number => Date.now() / 1000 + ahead;

describe("with a real OpenID provider and a browser", () => {
  let provider: IdentityProvider;
  let party: RelyingParty;
  let sessions: ReturnType<typeof createMemorySessions>;
  let signIn: SignIn;
  let identify: Identify;
  let browser: Browser;

  before(async () => {
    party = await startRelyingParty();
    provider = await startIdentityProvider({ gatewayUrl: party.url, accessTokenSeconds: 60 });
  });
  after(async () => {
    await provider.stop();
    await party.stop();
  });
  beforeEach(() => {
    ahead = 0;
    sessions = createMemorySessions();
    const { id, secret } = provider.gatewayClient;
    const issuers = createIssuers([
      {
        name: "demo",
        url: provider.issuer,
        audience: "countersign",
        attributes: { groups: "groups", region: "region" },
        client: { id, secret: () => secret },
      },
    ]);
    const loginKey = randomBytes(32);
    signIn = createSignIn({
      issuers,
      sessions,
      publicUrl: party.url,
      origins: [party.url],
      loginKey: () => loginKey,
      refreshKey: () => refreshKey,
      graceSeconds: 900,
    });
    identify = createIdentify({
      verifyBearer: createVerifyBearer({ issuers }),
      verifySession: signIn.verifySession,
      notBefore: (key) => sessions.notBefore(key),
      origins: [party.url],
    });
    party.serve(signIn, clock);
    browser = createBrowser();
  });

  /** What the browser presents when a page of ours asks. */
  function presented(cookie = browser.cookiesFor(party.url)): Presented {
    const rawHeaders = ["Cookie", cookie, "Sec-Fetch-Site", "same-origin"];
    const outcome = parsePresented({ method: "GET", rawHeaders, cookieName: cookieNameOf(party.url) });
    return outcome.ok ? outcome.value : assert.fail(JSON.stringify(outcome.refusal));
  }
  async function whoIs(cookie?: string): Promise<Outcome<Identity>> {
    return identify(presented(cookie), clock());
  }
  async function signAliceIn(): Promise<Identity> {
    const page = await signInWithBrowser(browser, {
      gatewayUrl: party.url,
      user: "alice",
      returnTo: "/demo?x=1",
    });
    assert.equal(page.url, `${party.url}/demo?x=1`);
    const outcome = await whoIs();
    return outcome.ok ? outcome.value : assert.fail(JSON.stringify(outcome.refusal));
  }
  function tokenRequests(): number {
    return provider.requests.get("/token") ?? 0;
  }

  test("signIn leads from login to a session whose Identity is the provider's word", async () => {
    const before = clock();
    const { provedAt, expiresAt, proof, ...identity } = await signAliceIn();
    assert.deepEqual(identity, {
      user: "demo-alice",
      issuer: "demo",
      id: "alice",
      name: "Alice Ambrose",
      acr: "pwd",
      kind: "user",
      client: "gw",
      attributes: Object.assign(Object.create(null), { groups: ["Orders.Clerks"], region: ["eu"] }),
    });
    assert.ok(provedAt >= before && provedAt <= clock());
    assert.equal(expiresAt, provedAt + 60 + 900);
    assert.equal(proof.kind, "session");
    const name = cookieNameOf(party.url);
    const cookies = browser.cookiesSet.filter((line) => line.startsWith("__Host-Http-"));
    assert.deepEqual(
      cookies.map((line) => line.replace(/^([^=]+)=[^;]+/, "$1=…")),
      [
        `${name}~login=…; Path=/; Max-Age=600; Secure; HttpOnly; SameSite=Lax`,
        `${name}=…; Path=/; Secure; HttpOnly; SameSite=Lax`,
        `${name}~login=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax`,
      ],
    );
  });

  test("signIn stores neither the cookie's value nor a readable refresh token", async () => {
    const { proof } = await signAliceIn();
    const id = browser.cookiesFor(party.url).split("=")[1] ?? "";
    const stored = await sessions.get(proof.hash);
    assert.equal(proof.hash, sessionHashOf(id));
    assert.match(stored?.sealedRefreshToken ?? "", /^[A-Za-z0-9_-]{60,}$/);
    assert.equal(JSON.stringify(stored).includes(id), false);
  });

  test("signIn gives each sign-in a new session and ends the one the browser had", async () => {
    const first = await signAliceIn();
    const formerCookie = browser.cookiesFor(party.url);
    ahead += 1;
    await signInWithBrowser(browser, { gatewayUrl: party.url, user: "bob" });
    const second = await whoIs();
    assert.equal(second.ok && second.value.user, "demo-bob");
    assert.notEqual(browser.cookiesFor(party.url), formerCookie);
    assert.equal(await sessions.get(first.proof.hash), undefined);
    assert.deepEqual(await whoIs(formerCookie), { ok: false, refusal: { reason: "session_unknown" } });
  });

  test("signIn renews a session once for all requests that wait, and keeps the rotated token", async () => {
    const { proof, provedAt } = await signAliceIn();
    const before = tokenRequests();
    for (const round of [1, 2]) {
      ahead += 61;
      const outcomes = await Promise.all(Array.from({ length: 50 }, () => whoIs()));
      assert.equal(
        outcomes.every(({ ok }) => ok),
        true,
      );
      assert.equal(tokenRequests(), before + round);
      const session = await sessions.get(proof.hash);
      assert.ok((session?.refreshAt ?? 0) > clock() + 55);
      assert.equal(session?.identity.provedAt, provedAt, "a renewal is no new proof");
    }
  });

  test("signIn ends a session whose refresh token the provider no longer takes", async () => {
    const { proof } = await signAliceIn();
    const session = (await sessions.get(proof.hash)) ?? assert.fail();
    const sealedRefreshToken = sealRefreshToken(() => refreshKey, "revoked", cookieOf(browser), proof.hash);
    await sessions.update({ ...session, sealedRefreshToken }, session);
    ahead += 61;
    const outcome = await whoIs();
    assert.equal(!outcome.ok && outcome.refusal.reason, "proof_revoked");
    assert.equal(await sessions.get(proof.hash), undefined);
  });

  test("signIn signs out here and names the provider's place to sign out", async () => {
    const { proof, provedAt } = await signAliceIn();
    const asked = { presented: { ...presented(), method: "POST" }, now: clock() };
    const outcome = await signIn.logout(asked);
    const { cookies, location = "" } = outcome.ok ? outcome.value : assert.fail();
    assert.deepEqual(cookies, [
      `${cookieNameOf(party.url)}=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax`,
    ]);
    const query = new URL(location).searchParams;
    assert.equal(query.get("client_id"), "gw");
    assert.equal(query.get("post_logout_redirect_uri"), `${party.url}/`);
    assert.match((await browser.open(location)).body, /Sign out\?/);
    assert.equal(await sessions.get(proof.hash), undefined);
    assert.equal(sessions.notBefore({ session: proof.hash }), asked.now);
    assert.ok(provedAt <= asked.now);
    assert.deepEqual(await whoIs(), { ok: false, refusal: { reason: "session_unknown" } });
  });

  test("signIn ends a session when the provider says so through the back channel, and tells whoever holds it", async () => {
    const { proof } = await signAliceIn();
    const heard: NotBeforeKey[] = [];
    sessions.onNotBefore((key) => heard.push(key));
    // Another user signs in at the provider in the same browser, elsewhere: the provider ends alice's session.
    const elsewhere = await signIn.begin({ now: clock() });
    const page = await browser.open(elsewhere.ok ? elsewhere.value.location : assert.fail());
    const outcome = await whoIs();
    await browser.submit(page.url, { user: "bob" });
    assert.equal(outcome.ok, true);
    assert.deepEqual(party.outcomes.get("/auth/backchannel-logout"), { ok: true, value: undefined });
    assert.equal(
      heard.some(({ session }) => session === proof.hash),
      true,
    );
    const after = await identify(presented(`${cookieNameOf(party.url)}=${cookieOf(browser)}`), clock());
    assert.equal(!after.ok && after.refusal.reason, "proof_revoked");
  });

  test("signIn verifies the provider's access tokens beside its sessions", async () => {
    const { user } = await signAliceIn();
    const token = provider.tokenFor("alice");
    const { proofs } = presented();
    const both = { ...presented(), proofs: [...proofs, { kind: "bearer", token } as const] };
    const outcome = await identify(both, clock());
    assert.equal(outcome.ok && outcome.value.user, user);
    await provider.rotateKeys();
    // The provider's keys were asked for a moment ago; for unknown ones they are again after half a minute.
    ahead += 31;
    const rotated = await identify(
      { ...both, proofs: [{ kind: "bearer", token: provider.tokenFor("bob") }] },
      clock(),
    );
    assert.equal(rotated.ok && rotated.value.user, "demo-bob");
  });

  test("signIn lets a session go on without its provider until the grace has passed, and begins no other", async () => {
    const { proof } = await signAliceIn();
    const { refreshAt = 0 } = (await sessions.get(proof.hash)) ?? {};
    // This test is the last one: the provider does not come back.
    await provider.stop();
    ahead += 61;
    const outcome = await whoIs();
    assert.equal(outcome.ok && outcome.value.expiresAt, refreshAt + 900);
    ahead = refreshAt + 900 - Date.now() / 1000;
    const late = await whoIs();
    assert.equal(!late.ok && late.refusal.reason, "check_unavailable");
    ahead = 4_000;
    const begun = await signIn.begin({ now: clock() });
    assert.equal(!begun.ok && begun.refusal.reason, "check_unavailable");
  });
});

/** The session cookie's value as the browser got it last. */
function cookieOf(browser: Browser): string {
  const lines = browser.cookiesSet.filter((line) => /^__Host-Http-countersign=[A-Za-z0-9_-]{43};/.test(line));
  return /=([^;]+)/.exec(lines.at(-1) ?? "")?.[1] ?? "";
}
