/** How long a session lives: idle, in all, with the provider's word renewed, and beyond a restart of the gateway. */
import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import type { IdentityProvider } from "@countersign/devstack/oidc.ts";
import { findFreePort } from "@countersign/devstack/ports.ts";
import { openStream, send, startTestStack, type TestStack } from "./support.ts";
import {
  configureInstance,
  endOf,
  forward,
  type LocalGateway,
  restartProvider,
  type SignedIn,
  signInAs,
  startLocalGateway,
  withAdmin,
} from "./support-operations.ts";

const MINUTE = 60;
/** As configured below. */
const IDLE = 90 * MINUTE;
const ABSOLUTE = 180 * MINUTE;
/** The provider's access tokens live a minute, so that its word is to be renewed after one. */
const RENEW = MINUTE;
/** How long it goes on while the provider does not answer. */
const GRACE = 60 * MINUTE;
/** How long it is left alone after it did not answer. */
const RETRY = 6;

// Both instances run in this process, with the provider, so that the tests can move their clock.
let stack: TestStack;
let first: LocalGateway;
let second: LocalGateway;
let adminPorts: readonly number[] = [];
let otherProvider: IdentityProvider | undefined;

before(async () => {
  const [one, two] = [await findFreePort(), await findFreePort()];
  adminPorts = [one, two];
  const session = "session: { idle: 90m, absolute: 3h }\n";
  stack = await startTestStack({
    gateway: false,
    accessTokenSeconds: RENEW,
    configure: (yaml) => withAdmin(one)(yaml) + session,
  });
  first = await startLocalGateway(stack.configFile);
  const { configFile } = await configureInstance(stack, "second");
  const yaml = await readFile(configFile, "utf8");
  await writeFile(configFile, yaml.replace(`127.0.0.1:${one}`, `127.0.0.1:${two}`));
  second = await startLocalGateway(configFile);
});
after(async () => {
  await second?.close();
  await first?.close();
  await otherProvider?.stop();
  await stack?.stop();
});

function later(seconds: number): Promise<void> {
  return forward(seconds, adminPorts);
}

async function whoami(
  { headers }: Pick<SignedIn, "headers">,
  gateway: LocalGateway = first,
): Promise<number> {
  return (await send(`${gateway.url}/v1/whoami`, { headers })).status;
}

function refreshes(): number {
  return stack.identityProvider.requests.get("/token") ?? 0;
}

test("a session that nobody uses ends after the idle limit, and one that is used goes on", async () => {
  const used = await signInAs("alice", stack.gatewayUrl);
  const unused = await signInAs("alice", stack.gatewayUrl);
  await later(IDLE - MINUTE);
  assert.equal(await whoami(used), 200);
  await later(2 * MINUTE);
  assert.deepEqual([await whoami(used), await whoami(unused)], [200, 401]);
  assert.equal(await whoami(used, second), 200);
});

test("a session ends at its absolute limit, however much it is used; its stream ends with it", async () => {
  const alice = await signInAs("alice", stack.gatewayUrl);
  const endsAt = Date.now() / 1000 + ABSOLUTE;
  for (const left of [100 * MINUTE, 20 * MINUTE, 6]) {
    await later(endsAt - left - Date.now() / 1000);
    assert.equal(await whoami(alice), 200);
  }
  const stream = await openStream(`${first.url}/v1/subscribe?subject=orders.eu.%3E`, alice);
  const end = await endOf(stream);
  assert.deepEqual(end, { event: "end", data: { code: "expired", reconnect: true } });
  assert.equal(await whoami(alice), 401);
});

test("fifty requests at once, on two instances, renew the provider's word with one refresh", async () => {
  const alice = await signInAs("alice", stack.gatewayUrl);
  assert.deepEqual([await whoami(alice), await whoami(alice, second)], [200, 200]);
  const former = refreshes();
  await later(RENEW + 1);
  const answers = await Promise.all(
    Array.from({ length: 50 }, (_, at) => whoami(alice, at % 2 === 0 ? first : second)),
  );
  assert.deepEqual(new Set(answers), new Set([200]));
  assert.equal(refreshes() - former, 1);
  // The rotated refresh token was kept: the next time is one refresh again, not a token used twice.
  await later(RENEW + 1);
  assert.deepEqual([await whoami(alice, second), await whoami(alice)], [200, 200]);
  assert.equal(refreshes() - former, 2);
});

test("a restarted gateway knows its sessions, and sign-outs too", async () => {
  const alice = await signInAs("alice", stack.gatewayUrl);
  const gone = await signInAs("alice", stack.gatewayUrl);
  const out = await send(`${first.url}/auth/logout`, { method: "POST", headers: gone.headers });
  assert.equal(out.status, 200);
  await first.close();
  first = await startLocalGateway(stack.configFile);
  assert.deepEqual([await whoami(alice), await whoami(gone)], [200, 401]);
});

test("a session outlives its provider's absence within the grace, and not beyond", async () => {
  const alice = await signInAs("alice", stack.gatewayUrl);
  await stack.identityProvider.stop();
  await later(RENEW + 1);
  assert.equal(await whoami(alice), 200);
  await later(GRACE - MINUTE);
  assert.equal(await whoami(alice), 200);
  await later(2 * MINUTE);
  // Not 401: nobody says that it ended, and a browser that signed in again would get no further.
  assert.equal(await whoami(alice), 503);
});

test("a refresh that the provider refuses ends the session on every instance", async () => {
  otherProvider = await restartProvider(stack, RENEW);
  await later(RETRY);
  const fresh = await signInAs("alice", stack.gatewayUrl);
  await otherProvider.stop();
  otherProvider = await restartProvider(stack, RENEW);
  assert.equal(await whoami(fresh), 200);
  await later(RENEW + 1);
  assert.equal(await whoami(fresh), 401);
  assert.equal(await whoami(fresh, second), 401);
  assert.equal(otherProvider.requests.get("/token"), 1);
});
