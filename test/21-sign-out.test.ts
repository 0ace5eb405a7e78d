/** Signing out reaches every instance: by the user here, by the provider for a session, and for a user altogether. */
import assert from "node:assert/strict";
import { createHash, randomUUID } from "node:crypto";
import { after, before, beforeEach, describe, test } from "node:test";
import { createBrowser } from "@countersign/devstack/browser.ts";
import type { GatewayProcess } from "@countersign/devstack/gateway-process.ts";
import {
  type Answer,
  type EventReader,
  openStream,
  send,
  startTestStack,
  type TestStack,
} from "./support.ts";
import { endOf, eventually, type SignedIn, signInAs, startInstance } from "./support-operations.ts";

const EVENT = "http://schemas.openid.net/event/backchannel-logout";
const LOGOUT = { event: "end", data: { code: "logout", reconnect: false } };

let stack: TestStack;
let second: GatewayProcess;
/** The provider's name for the last session it signed out. */
let sid: string;
before(async () => {
  stack = await startTestStack();
  second = await startInstance(stack, "second");
});
after(async () => {
  await second?.stop();
  await stack?.stop();
});

async function watch(gatewayUrl: string, headers: Readonly<Record<string, string>>): Promise<EventReader> {
  return await openStream(`${gatewayUrl}/v1/subscribe?subject=orders.eu.%3E`, { headers });
}

/** How each of the two instances answers. */
async function whoami(headers: Readonly<Record<string, string>>): Promise<readonly number[]> {
  const urls = [stack.gatewayUrl, second.url];
  const answers = await Promise.all(urls.map((url) => send(`${url}/v1/whoami`, { headers })));
  return answers.map(({ status }) => status);
}

/** Where it was signed out that is known when the answer is there; elsewhere as soon as NATS has brought it. */
async function refused(headers: Readonly<Record<string, string>>): Promise<void> {
  assert.equal((await send(`${stack.gatewayUrl}/v1/whoami`, { headers })).status, 401);
  await eventually("the second instance to refuse", async () =>
    (await whoami(headers)).every((status) => status === 401) ? true : undefined,
  );
}

function bearer(token: string): Readonly<Record<string, string>> {
  return { authorization: `Bearer ${token}` };
}

/** The provider calls from its own machine, without a browser. */
function backChannel(logoutToken: string, gatewayUrl: string = stack.gatewayUrl): Promise<Answer> {
  return send(`${gatewayUrl}/auth/backchannel-logout`, {
    method: "POST",
    headers: { "content-type": "application/x-www-form-urlencoded" },
    body: new URLSearchParams({ logout_token: logoutToken }).toString(),
  });
}

function logoutToken(claims: object, header: object = { typ: "logout+jwt" }): string {
  const now = Math.floor(Date.now() / 1000);
  const { issuer, gatewayClient } = stack.identityProvider;
  const usual = { iss: issuer, aud: gatewayClient.id, iat: now, exp: now + 120, jti: randomUUID() };
  return stack.identityProvider.sign({ ...usual, events: { [EVENT]: {} }, ...claims }, header);
}

describe("by the user", () => {
  test("a session's streams end on every instance, and the session is refused on every instance", async () => {
    const alice = await signInAs("alice", stack.gatewayUrl);
    const elsewhere = await signInAs("alice", stack.gatewayUrl);
    const [here, there] = [
      await watch(stack.gatewayUrl, alice.headers),
      await watch(second.url, alice.headers),
    ];
    const others = [
      await watch(second.url, elsewhere.headers),
      await watch(second.url, bearer(stack.token("alice"))),
    ];
    assert.deepEqual(await whoami(alice.headers), [200, 200]);

    const answer = await stack.call("/auth/logout", { method: "POST", headers: alice.headers });
    assert.equal(answer.status, 200);
    await refused(alice.headers);
    assert.deepEqual([await endOf(here), await endOf(there)], [LOGOUT, LOGOUT]);

    // She signed this browser out, not herself.
    assert.deepEqual(await whoami(elsewhere.headers), [200, 200]);
    stack.admin.publish("orders.eu.1.create", "still there");
    for (const stream of others) {
      const [event] = await stream.read(1);
      assert.equal(event?.data.data, "still there");
      stream.leave();
    }
  });

  test("a session that was signed out on one instance while the other carries a publish of it is over on both", async () => {
    const alice = await signInAs("alice", stack.gatewayUrl);
    const publish = (): Promise<Answer> =>
      send(`${second.url}/v1/publish?subject=orders.eu.2.create`, {
        method: "POST",
        headers: alice.headers,
        body: "x",
      });
    assert.equal((await publish()).status, 202);
    const publishing = Array.from({ length: 20 }, publish);
    const [logout, ...answers] = await Promise.all([
      stack.call("/auth/logout", { method: "POST", headers: alice.headers }),
      ...publishing,
    ]);
    assert.equal(logout?.status, 200);
    for (const { status } of answers) assert([202, 401, 503].includes(status), String(status));
    await refused(alice.headers);
    assert.equal((await publish()).status, 401);
  });
});

describe("by the provider, for one of its sessions", () => {
  let alice: SignedIn;

  beforeEach(async () => {
    const browser = createBrowser();
    // The provider keeps its session, and its name for it, while ours is signed out; it is told in the logout hint.
    const former = await signInAs("alice", stack.gatewayUrl, browser);
    const out = await stack.call("/auth/logout", { method: "POST", headers: former.headers });
    sid = new URL(String(out.json().location)).searchParams.get("logout_hint") ?? "";
    assert.notEqual(sid, "");
    alice = await signInAs("alice", stack.gatewayUrl, browser);
  });

  test("signing out at the provider's own page ends our session and its streams everywhere", async () => {
    const streams = [await watch(stack.gatewayUrl, alice.headers), await watch(second.url, alice.headers)];
    const { issuer, gatewayClient } = stack.identityProvider;
    const page = await alice.browser.open(`${issuer}/session/end?client_id=${gatewayClient.id}`);
    const xsrf = /name="xsrf" value="([^"]*)"/.exec(page.body)?.[1] ?? "";
    const action = /action="([^"]*)"/.exec(page.body)?.[1] ?? "";
    // The provider answers once the gateway has.
    await alice.browser.submit(action, { xsrf, logout: "yes" });
    for (const stream of streams) assert.deepEqual(await endOf(stream), LOGOUT);
    await refused(alice.headers);
  });

  test("a logout token with its sid does so on whichever instance it comes in", async () => {
    const streams = [await watch(stack.gatewayUrl, alice.headers), await watch(second.url, alice.headers)];
    assert.equal((await backChannel(logoutToken({ sub: "alice", sid }), second.url)).status, 200);
    await eventually("both to refuse", async () =>
      (await whoami(alice.headers)).every((status) => status === 401) ? true : undefined,
    );
    for (const stream of streams) assert.deepEqual(await endOf(stream), LOGOUT);
  });

  test("it leaves her other sessions and her tokens alone", async () => {
    const other = await signInAs("alice", stack.gatewayUrl);
    assert.equal((await backChannel(logoutToken({ sid }))).status, 200);
    await refused(alice.headers);
    assert.deepEqual(await whoami(other.headers), [200, 200]);
    assert.deepEqual(await whoami(bearer(stack.token("alice"))), [200, 200]);
  });

  test("whatever is no logout token of this provider for us ends nothing", async () => {
    const now = Math.floor(Date.now() / 1000);
    const good = logoutToken({ sid });
    const [head = "", body = ""] = good.split(".");
    const tokens: Readonly<Record<string, string>> = {
      "another audience": logoutToken({ sid, aud: "another-client" }),
      "another issuer": logoutToken({ sid, iss: "https://evil.example" }),
      "an access token": stack.token("alice", { claims: { sid } }),
      "typed as an ID token": logoutToken({ sid }, { typ: "JWT" }),
      "with a nonce": logoutToken({ sid, nonce: "n" }),
      "without its event": logoutToken({ sid, events: {} }),
      "without an id": logoutToken({ sid, jti: undefined }),
      "of yesterday": logoutToken({ sid, iat: now - 90_000, exp: now - 86_400 }),
      "of nobody": logoutToken({}),
      unsigned: `${head}.${body}.`,
      "signed over something else": `${head}.${body}.${logoutToken({ sid }).split(".")[2]}`,
      "no token at all": "",
      "over the size limit": good.padEnd(100_000, "A"),
    };
    for (const [name, token] of Object.entries(tokens)) {
      const { status } = await backChannel(token);
      assert(status === 400 || status === 401, `${name}: ${status}`);
    }
    assert.deepEqual(await whoami(alice.headers), [200, 200]);
  });

  test("a logout token works once: a copy of it is refused, and ends no session that began since", async () => {
    const token = logoutToken({ sid });
    assert.equal((await backChannel(token)).status, 200);
    await refused(alice.headers);
    const again = await signInAs("alice", stack.gatewayUrl, alice.browser);
    for (const url of [stack.gatewayUrl, second.url])
      assert.equal((await backChannel(token, url)).status, 401);
    assert.deepEqual(await whoami(again.headers), [200, 200]);
  });
});

describe("by the provider, for a user", () => {
  test("every session and every token of the user ends on every instance, and those that come later count", async () => {
    const bob = await signInAs("bob", stack.gatewayUrl);
    const token = stack.token("bob");
    const aliceToken = stack.token("alice");
    const watchBob = (url: string, headers: Readonly<Record<string, string>>): Promise<EventReader> =>
      openStream(`${url}/v1/subscribe?subject=orders.us.%3E`, { headers });
    const streams = [
      await watchBob(stack.gatewayUrl, bob.headers),
      await watchBob(second.url, bob.headers),
      await watchBob(second.url, bearer(token)),
    ];
    const alices = await watch(second.url, bearer(aliceToken));
    assert.deepEqual(await whoami(bearer(token)), [200, 200]);

    assert.equal((await backChannel(logoutToken({ sub: "bob" }))).status, 200);
    const at = Date.now() / 1000;
    await refused(bob.headers);
    await refused(bearer(token));
    for (const stream of streams) assert.deepEqual(await endOf(stream), LOGOUT);
    // Also one that was never seen before, but issued before.
    const unseen = stack.token("bob", { claims: { iat: Math.floor(at) - 60 } });
    await refused(bearer(unseen));

    const later = stack.token("bob", { claims: { iat: Math.ceil(at) + 1 } });
    assert.deepEqual(await whoami(bearer(later)), [200, 200]);
    assert.deepEqual(await whoami((await signInAs("bob", stack.gatewayUrl)).headers), [200, 200]);
    assert.deepEqual(await whoami(bearer(aliceToken)), [200, 200]);
    alices.leave();
  });

  test("the record says who asked for what, and keeps no token", () => {
    const lines = stack.audit().filter(({ action }) => action === "sign-out by provider");
    assert(lines.some(({ outcome, user, proof }) => outcome === "allowed" && user === "demo-bob" && !proof));
    const hash = createHash("sha256")
      .update(JSON.stringify(["upstream-session", "demo", sid]))
      .digest("base64url");
    const ofSession = lines.filter(({ proof }) => (proof as { hash?: string } | undefined)?.hash === hash);
    assert(ofSession.some(({ outcome, issuer }) => outcome === "allowed" && issuer === "demo"));
    assert(lines.some(({ outcome, refusal }) => outcome === "refused" && refusal));
    assert.doesNotMatch(JSON.stringify(lines), /eyJ[A-Za-z0-9_-]{10,}/);
  });
});
