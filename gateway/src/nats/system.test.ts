import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { NatsConnection } from "@nats-io/transport-node";
import { createNkey } from "../credentials/nkey.ts";
import { dialAs } from "../credentials/testing/user.ts";
import { mintCredential } from "../credentials/user.ts";
import { createDial } from "./dial.ts";
import { openSystem, type System } from "./system.ts";
import { startCluster, type TestCluster, testClock, until, userOf } from "./testing/cluster.ts";

let cluster: TestCluster;
let system: System;
const opened: NatsConnection[] = [];

before(async () => {
  cluster = await startCluster({ size: 3 });
  system = open(3_000);
  await until(() => system.unready() === undefined);
  // A server knows of the others when they have told it once.
  await until(async () => (await serversSeen()) === 3, 20_000);
});
after(async () => {
  for (const connection of opened) await connection.close();
  await system?.close();
  await cluster?.close();
});

/** At the first server. */
function open(answerWithinMs: number): System {
  const { system: user, proxyKey } = cluster.keys;
  assert(user && proxyKey);
  const dial = createDial({ servers: [cluster.url] });
  return openSystem({ dial, user, proxyKey, instance: "test", answerWithinMs });
}

async function serversSeen(): Promise<number> {
  const admins = await Promise.all([0, 1, 2].map((server) => cluster.admin(server)));
  const { connections } = await system.connections([cluster.keys.account]);
  for (const admin of admins) await admin.close();
  return new Set(connections.map(({ server }) => server)).size;
}

/** A connection of a user of the gateway, at one of the servers. */
async function connect(user: string, server: number): Promise<NatsConnection> {
  const { keys, urls } = cluster;
  const { identity, grant } = userOf(user);
  const userKey = createNkey("user");
  const inboxPrefix = `_INBOX.${user}`;
  const minted = mintCredential({
    ...{ identity, grant, inboxPrefix },
    permissions: { pub: { allow: ["a"] }, sub: { allow: [`${inboxPrefix}.>`] } },
    userPublicKey: userKey.publicKey,
    signer: { signingKey: keys.signingKey, accountPublicKey: keys.account },
    now: Math.floor(testClock()),
    controlLineBytesMax: 1024 * 1024,
  });
  assert(minted.ok);
  const connection = await dialAs(
    urls[server] ?? "",
    { jwt: minted.value.jwt, userKey, inboxPrefix },
    keys.proxyKey,
  );
  opened.push(connection);
  return connection;
}

async function listed(user: string) {
  const { connections, silent } = await system.connections([cluster.keys.account]);
  return { of: connections.filter(({ tags }) => tags.includes(`user:test-${user}`)), silent };
}

test("connections() finds a user's connections on every server, and kick() closes them", async () => {
  const connections = await Promise.all([0, 1, 2].map((server) => connect("ada", server)));
  const { of, silent } = await listed("ada");
  assert.deepEqual(silent, []);
  assert.deepEqual(of.map(({ server }) => server).sort(), ["test-0", "test-1", "test-2"]);
  const closed = connections.map((connection) => connection.closed());
  assert.deepEqual(await Promise.all(of.map((each) => system.kick(each))), ["cut", "cut", "cut"]);
  await Promise.all(closed);
  assert.deepEqual((await listed("ada")).of, []);
  assert.deepEqual(await Promise.all(of.map((each) => system.kick(each))), ["gone", "gone", "gone"]);
});

test("connections() finds them all when they are more than a page", async () => {
  const { keys } = cluster;
  const many = 1_100;
  const waiting = Array.from({ length: many }, () => connect("crowd", 1));
  await Promise.all(waiting);
  const { connections } = await system.connections([keys.account]);
  const crowd = connections.filter(({ tags }) => tags.includes("user:test-crowd"));
  assert.equal(crowd.length, many);
  assert.equal(new Set(crowd.map(({ cid }) => cid)).size, many);
  await Promise.all(crowd.map((each) => system.kick(each)));
  assert.deepEqual((await listed("crowd")).of, []);
});

test("kick() of a server that nobody knows is silent, not an answer", async () => {
  assert.equal(await system.kick({ serverId: "NNOBODY", cid: 1 }), "silent");
});

test("a server that hangs is named, and its connections are not taken for closed", async (t) => {
  const on = await connect("eve", 2);
  const [found] = (await listed("eve")).of;
  assert(found);
  const impatient = open(300);
  t.after(() => impatient.close());
  await until(() => impatient.unready() === undefined);
  assert.deepEqual((await impatient.connections([cluster.keys.account])).silent, []);
  const hung = cluster.servers[2]?.pid ?? assert.fail();
  process.kill(hung, "SIGSTOP");
  try {
    const { silent } = await impatient.connections([cluster.keys.account]);
    assert.deepEqual(silent, ["test-2"]);
    assert.equal(await impatient.kick(found), "silent");
  } finally {
    process.kill(hung, "SIGCONT");
  }
  assert.equal(on.isClosed(), false);
});

test("it connects again when its server has been away, and says so meanwhile", async () => {
  const changes: (string | undefined)[] = [];
  system.onConnect(() => changes.push(system.unready()));
  await cluster.stop();
  await until(() => system.unready() !== undefined);
  await assert.rejects(system.connections([]), /the connection to the system account is lost/);
  await cluster.restart();
  await until(() => system.unready() === undefined, 20_000);
  assert.deepEqual(changes, [undefined, undefined], "at once, since it was connected, and again");
});
