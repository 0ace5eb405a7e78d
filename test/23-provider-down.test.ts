/** The identity provider does not answer: what was proved goes on within bounds, what is new waits, nothing opens. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { IdentityProvider } from "@countersign/devstack/oidc.ts";
import { findFreePort } from "@countersign/devstack/ports.ts";
import { type Answer, type Call, send, startTestStack, type TestStack } from "./support.ts";
import {
  forward,
  type LocalGateway,
  restartProvider,
  type SignedIn,
  signInAs,
  startLocalGateway,
  withAdmin,
} from "./support-operations.ts";

const MINUTE = 60;
/** A kid nobody knows is asked for at most so often; a provider that did not answer is left alone for less. */
const COOLDOWN = 31;
const RETRY = 6;

// The gateway runs in this process, with the provider, so that the tests can move their clock.
let stack: TestStack;
let gateway: LocalGateway;
let adminPort: number;
let provider: IdentityProvider;
let alice: SignedIn;
let aliceToken: string;

before(async () => {
  adminPort = await findFreePort();
  stack = await startTestStack({ gateway: false, configure: withAdmin(adminPort) });
  provider = stack.identityProvider;
  gateway = await startLocalGateway(stack.configFile);
});
after(async () => {
  await gateway?.close();
  await provider?.stop();
  await stack?.stop();
});

function later(seconds: number): Promise<void> {
  return forward(seconds, [adminPort]);
}

function whoami(how: Call): Promise<Answer> {
  return send(`${gateway.url}/v1/whoami`, how);
}

async function statusOf(how: Call): Promise<number> {
  return (await whoami(how)).status;
}

test("keys are fetched once, however many tokens come at once", async () => {
  const tokens = Array.from({ length: 50 }, () => provider.tokenFor("alice"));
  const found = await Promise.all(tokens.map((token) => statusOf({ token })));
  assert.deepEqual(new Set(found), new Set([200]));
  assert.equal(provider.requests.get("/jwks"), 1);
  assert.equal(provider.requests.get("/.well-known/openid-configuration"), 1);
});

test("keys that nobody knows are asked for together and seldom: a flood of made-up ones costs the provider one request", async () => {
  await later(COOLDOWN);
  const made = Array.from({ length: 50 }, (_, at) =>
    provider.tokenFor("alice", { header: { kid: `made-up-${at}` } }),
  );
  const found = await Promise.all(made.map((token) => statusOf({ token })));
  assert.deepEqual(new Set(found), new Set([401]));
  for (const token of made) assert.equal(await statusOf({ token }), 401);
  assert.equal(provider.requests.get("/jwks"), 2);
});

test("while it is down, sessions, tokens seen before and new ones under known keys go on", async () => {
  alice = await signInAs("alice", stack.gatewayUrl);
  aliceToken = provider.tokenFor("alice");
  assert.equal(await statusOf({ token: aliceToken }), 200);
  const unseen = provider.tokenFor("alice");
  await provider.stop();
  assert.deepEqual(
    await Promise.all([alice, { token: aliceToken }, { token: unseen }].map((how) => statusOf(how))),
    [200, 200, 200],
  );
  const publish = await send(`${gateway.url}/v1/publish?subject=orders.eu.1.create`, {
    method: "POST",
    token: unseen,
    body: "x",
  });
  assert.equal(publish.status, 202);
});

test("a token under a key that cannot be asked for is unavailable, not invalid; sign-in says so too", async () => {
  await later(COOLDOWN);
  const answer = await whoami({
    token: provider.tokenFor("alice", { header: { kid: "rotated-meanwhile" } }),
  });
  assert.equal(answer.status, 503);
  assert.deepEqual([answer.json().code, answer.headers["retry-after"]], ["unavailable", "5"]);
  assert.equal(answer.headers["www-authenticate"], undefined);
  assert.doesNotMatch(answer.text, /ECONNREFUSED|jwks|localhost/);
  // Not the user's doing, and not to be waited for: it says no at once.
  const login = await send(`${gateway.url}/auth/login`, {});
  assert.equal(login.status, 503);
  assert.equal(login.headers["set-cookie"], undefined);
});

test("forged and expired tokens stay refused", async () => {
  const [head = "", body = ""] = provider.tokenFor("alice").split(".");
  const signature = provider.tokenFor("bob").split(".")[2];
  const now = Math.floor(Date.now() / 1000);
  const expired = provider.tokenFor("alice", { claims: { iat: now - 700, exp: now - 100 } });
  assert.deepEqual(
    await Promise.all([`${head}.${body}.${signature}`, expired].map((token) => statusOf({ token }))),
    [401, 401],
  );
});

test("known keys are believed for an hour and ten minutes, and no longer", async () => {
  await later(65 * MINUTE);
  assert.equal(await statusOf({ token: provider.tokenFor("alice") }), 200);
  await later(10 * MINUTE);
  assert.equal(await statusOf({ token: provider.tokenFor("alice") }), 503);
});

test("when it is back, so is everything", async () => {
  provider = await restartProvider(stack);
  await later(RETRY);
  assert.equal(await statusOf({ token: provider.tokenFor("alice") }), 200);
  assert.equal(await statusOf(await signInAs("alice", stack.gatewayUrl)), 200);
});

test("a rotated key is found by itself, and a key that was withdrawn is not believed for long", async () => {
  const former = provider.tokenFor("alice", {
    claims: { exp: Math.floor(Date.now() / 1000) + 120 * MINUTE },
  });
  assert.equal(await statusOf({ token: former }), 200);
  await provider.rotateKeys({ dropFormer: true });
  await later(COOLDOWN);
  assert.equal(await statusOf({ token: provider.tokenFor("alice") }), 200);
  await later(MINUTE);
  assert.equal(await statusOf({ token: former }), 401);
});
