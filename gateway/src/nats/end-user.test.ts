import assert from "node:assert/strict";
import { test } from "node:test";
import { formatDirectName } from "./direct-name.ts";
import { createEndUser } from "./end-user.ts";
import type { Listing, System } from "./system.ts";
import type { ListedConnection } from "./system-json.ts";

const HASH = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU";
const NOW = 1_000;

function connectionOf(cid: number, more: Partial<ListedConnection> = {}): ListedConnection {
  const where = { serverId: "N1", server: "n1", account: "A1" };
  return { ...where, cid, authorizedUser: "U…", type: "nats", name: "", tags: [], ...more };
}

function direct(cid: number, user: string, provedAt: number, type: string = "nats"): ListedConnection {
  const proof = { kind: "bearer", hash: HASH } as const;
  const name = { user, proof, provedAt, instance: "first", policy: "0123456789abcdef" };
  return connectionOf(cid, { authorizedUser: formatDirectName(name), type });
}

function carried(cid: number, tag: string): ListedConnection {
  return connectionOf(cid, { tags: [tag] });
}

/** nats-server with these connections, and instances that end what they carry when they hear of it. */
function bench(open: readonly ListedConnection[], { deaf = false, stuck = [] as readonly number[] } = {}) {
  const steps: string[] = [];
  let there = [...open];
  let silent: readonly string[] = [];
  let now = NOW;
  const system = {
    async connections(): Promise<Listing> {
      // Time passes while one waits.
      now += 0.1;
      return { connections: there, servers: [], silent };
    },
    async kick({ cid }: { readonly cid: number }) {
      steps.push(`kick ${cid}`);
      if (!stuck.includes(cid)) there = there.filter((each) => each.cid !== cid);
      return "cut" as const;
    },
  } as unknown as System;
  const endUser = createEndUser({
    async raiseNotBefore(key, at) {
      steps.push(`not before ${at}: ${key.user}`);
      if (!deaf) there = there.filter(({ cid, tags }) => cid === 2 || !tags.includes(`user:${key.user}`));
    },
    system,
    accounts: ["A1"],
    clock: () => now,
  });
  return {
    endUser,
    steps,
    arrive: (connection: ListedConnection) => there.push(connection),
    hang: (server: string) => {
      silent = [server];
    },
    left: () => there.map(({ cid }) => cid),
  };
}

test("endUser() raises the not-before first, then cuts what is direct, and counts by way and server", async () => {
  const { endUser, steps, left } = bench([
    direct(1, "test-ada", 900),
    // A credential of ours names its user in a tag too.
    { ...direct(2, "test-ada", 900, "mqtt"), tags: ["user:test-ada"] },
    direct(3, "test-eve", 900),
    carried(4, "user:test-ada"),
    carried(5, "user:test-eve"),
  ]);
  const { ended, notReached } = await endUser("test-ada", NOW);
  assert.deepEqual(steps, [`not before ${NOW}: test-ada`, "kick 1", "kick 2"]);
  assert.deepEqual(left(), [3, 5]);
  assert.deepEqual(notReached, []);
  assert.deepEqual(
    ended.toSorted((one, other) => one.way.localeCompare(other.way)),
    [
      { way: "gateway", server: "n1", connections: 1 },
      { way: "mqtt", server: "n1", connections: 1 },
      { way: "nats", server: "n1", connections: 1 },
    ],
  );
});

test("endUser() leaves what was proved after it", async () => {
  const { endUser, steps } = bench([direct(1, "test-ada", NOW + 1)]);
  assert.deepEqual(await endUser("test-ada", NOW), { ended: [], notReached: [] });
  assert.deepEqual(steps, [`not before ${NOW}: test-ada`]);
});

test("endUser() cuts what an instance that does not hear of it still carries", async () => {
  const { endUser, steps } = bench([carried(1, "user:test-ada"), carried(2, "actor:test-ada")], {
    deaf: true,
  });
  const { ended, notReached } = await endUser("test-ada", NOW);
  assert.deepEqual(steps.slice(1), ["kick 1", "kick 2"]);
  assert.deepEqual([ended, notReached], [[{ way: "gateway", server: "n1", connections: 2 }], []]);
});

test("endUser() takes nothing for ended that is there still, or that cannot be seen", async () => {
  const { endUser, hang } = bench([direct(1, "test-ada", 900), direct(2, "test-ada", 900)], { stuck: [2] });
  hang("n3");
  const { ended, notReached } = await endUser("test-ada", NOW);
  assert.deepEqual(ended, [{ way: "nats", server: "n1", connections: 1 }]);
  assert.deepEqual(notReached, ["the nats-server n3 did not answer", "connection 2 on n1 did not close"]);
});

test("endUser() says that nothing but what is carried ends without a user of the system account", async () => {
  const raised: string[] = [];
  const endUser = createEndUser({
    raiseNotBefore: async ({ user }) => void raised.push(String(user)),
    accounts: ["A1"],
    clock: () => NOW,
  });
  const { ended, notReached } = await endUser("test-ada", NOW);
  assert.deepEqual([raised, ended, notReached.length], [["test-ada"], [], 1]);
});

test("endUser() rejects when the not-before cannot be written, and has cut nothing", async () => {
  const cut: number[] = [];
  const endUser = createEndUser({
    raiseNotBefore: () => Promise.reject(new Error("no majority")),
    system: {
      connections: async () => ({ connections: [direct(1, "test-ada", 900)], servers: [], silent: [] }),
      kick: async ({ cid }: { readonly cid: number }) => void cut.push(cid),
    } as unknown as System,
    accounts: ["A1"],
    clock: () => NOW,
  });
  await assert.rejects(endUser("test-ada", NOW), /no majority/);
  assert.deepEqual(cut, []);
});
