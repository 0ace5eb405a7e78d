/** A session that nobody uses any more is over for what it has open too, not only for its next request. */
import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { findFreePort } from "@countersign/devstack/ports.ts";
import { openStream, send, startTestStack, type TestStack } from "./support.ts";
import {
  configureInstance,
  endOf,
  forward,
  type LocalGateway,
  type SignedIn,
  signInAs,
  startLocalGateway,
  withAdmin,
} from "./support-operations.ts";

const MINUTE = 60;
/** As configured below. */
const IDLE = 5 * MINUTE;

// Both instances run in this process, so that the test can move their clock.
let stack: TestStack;
let first: LocalGateway;
let second: LocalGateway;
let adminPorts: readonly number[] = [];

before(async () => {
  const [one, two] = [await findFreePort(), await findFreePort()];
  adminPorts = [one, two];
  const configure = (yaml: string): string => `${withAdmin(one)(yaml)}session: { idle: 5m }\n`;
  stack = await startTestStack({ gateway: false, configure });
  first = await startLocalGateway(stack.configFile);
  const { configFile } = await configureInstance(stack, "second");
  const yaml = await readFile(configFile, "utf8");
  await writeFile(configFile, yaml.replace(`127.0.0.1:${one}`, `127.0.0.1:${two}`));
  second = await startLocalGateway(configFile);
});
after(async () => {
  await second?.close();
  await first?.close();
  await stack?.stop();
});

async function whoami({ headers }: SignedIn, { url }: LocalGateway): Promise<number> {
  return (await send(`${url}/v1/whoami`, { headers })).status;
}

test("its streams end on every instance; those of a session that is used elsewhere go on", async () => {
  const [idle, used] = [await signInAs("alice", stack.gatewayUrl), await signInAs("alice", stack.gatewayUrl)];
  const watch = ({ url }: LocalGateway, { headers }: SignedIn) =>
    openStream(`${url}/v1/subscribe?subject=orders.eu.%3E`, { headers });
  const ends = [await watch(first, idle), await watch(second, idle)];
  const goesOn = await watch(second, used);
  await forward(IDLE - MINUTE, adminPorts);
  // Not where its stream is.
  assert.equal(await whoami(used, first), 200);
  assert.deepEqual(
    [...ends, goesOn].flatMap(({ events }) => events),
    [],
  );
  await forward(2 * MINUTE, adminPorts);
  const logout = { event: "end", data: { code: "logout", reconnect: false } };
  for (const stream of ends) assert.deepEqual(await endOf(stream), logout);
  assert.deepEqual([await whoami(idle, first), await whoami(used, second)], [401, 200]);
  assert.deepEqual(goesOn.events, []);
  goesOn.leave();
});
