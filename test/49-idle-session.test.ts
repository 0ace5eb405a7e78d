/** A session that nobody uses any more is over for what it has open too, not only for its next request. */
import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { findFreePort } from "@countersign/devstack/ports.ts";
import { type NatsConnection, wsconnect } from "@nats-io/nats-core";
import { WebSocket } from "ws";
import { type EventReader, openStream, send, startTestStack, type TestStack } from "./support.ts";
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

const POLICY = `version: 1
roles:
  clerk:
    given-to: [ { issuer: demo, groups: Orders.Clerks } ]
    may: [ connect native, 'publish orders.{region}.>', 'subscribe orders.{region}.>' ]
`;
const MINUTE = 60;
/** As configured below. */
const IDLE = 5 * MINUTE;
const LOGOUT = { event: "end", data: { code: "logout", reconnect: false } };

// Both instances run in this process, so that the test can move their clock.
let stack: TestStack;
let first: LocalGateway;
let second: LocalGateway;
let adminPorts: readonly number[] = [];

before(async () => {
  const [one, two] = [await findFreePort(), await findFreePort()];
  adminPorts = [one, two];
  const configure = (yaml: string): string => `${withAdmin(one)(yaml)}session: { idle: 5m }\n`;
  stack = await startTestStack({ gateway: false, configure, policy: POLICY });
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

function watch({ url }: LocalGateway, { headers }: SignedIn): Promise<EventReader> {
  return openStream(`${url}/v1/subscribe?subject=orders.eu.idle`, { headers });
}

async function whoami({ headers }: SignedIn, { url }: LocalGateway): Promise<number> {
  return (await send(`${url}/v1/whoami`, { headers })).status;
}

test("its streams end on every instance; those of a session that is used elsewhere go on", async () => {
  const [idle, used] = [await signInAs("alice", stack.gatewayUrl), await signInAs("alice", stack.gatewayUrl)];
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
  for (const stream of ends) assert.deepEqual(await endOf(stream), LOGOUT);
  assert.deepEqual([await whoami(idle, first), await whoami(used, second)], [401, 200]);
  assert.deepEqual(goesOn.events, []);
  goesOn.leave();
});

test("one whose native client publishes is in use, and one whose native client only listens is not", async () => {
  const former = await signInAs("alice", stack.gatewayUrl);
  const looked = await watch(second, former);
  await forward(2 * MINUTE, adminPorts);
  const [listening, publishing] = [
    await signInAs("alice", stack.gatewayUrl),
    await signInAs("alice", stack.gatewayUrl),
  ];
  const [listener, publisher] = [await native(second, listening), await native(second, publishing)];
  const publish = setInterval(() => publisher.publish("orders.eu.1", "x"), 20);
  try {
    await forward(IDLE - MINUTE, adminPorts);
    // That tells that the gateway has looked who is in use since.
    assert.deepEqual(await endOf(looked), LOGOUT);
    await forward(2 * MINUTE, adminPorts);
    await listener.closed();
    assert.equal(publisher.isClosed(), false);
    assert.deepEqual([await whoami(listening, first), await whoami(publishing, first)], [401, 200]);
  } finally {
    clearInterval(publish);
    await publisher.close();
  }
});

function native({ url }: LocalGateway, { headers }: SignedIn): Promise<NatsConnection> {
  return wsconnect({
    servers: `${url.replace("http", "ws")}/v1/nats`,
    reconnect: false,
    wsFactory: async (at) => ({
      socket: new WebSocket(at, { headers: { ...headers } }) as unknown as globalThis.WebSocket,
      encrypted: false,
    }),
  });
}
