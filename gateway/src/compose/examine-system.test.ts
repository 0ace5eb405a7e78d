import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { encodeNatsJwt } from "../credentials/nats-jwt.ts";
import type { GatewayUser, NatsKeys } from "../credentials/nats-keys.ts";
import { createNkey, nkeyFromSeed } from "../credentials/nkey.ts";
import { systemPermissionsOf } from "../credentials/own-users.ts";
import { startCluster, type TestCluster, testClock } from "../nats/testing/cluster.ts";
import { accountsOf } from "./direct.ts";
import type { Examined } from "./examine-local.ts";
import { examineSystem } from "./examine-system.ts";

let cluster: TestCluster;
before(async () => {
  cluster = await startCluster();
});
after(() => cluster?.close());

async function examine(keys: NatsKeys): Promise<Examined | undefined> {
  const found: Examined[] = [];
  await examineSystem({ dial: cluster.dial, keys, instance: "doctor" }, (examined) => found.push(examined));
  assert.equal(found.length, 1);
  return found[0];
}

/** A user of the system account that may publish to these subjects only. */
async function userWith(allow: readonly string[]): Promise<GatewayUser> {
  const seed = await readFile(join(cluster.home, "offline", "sys-account.nk"), "utf8");
  const signer = nkeyFromSeed(seed.trim()) ?? assert.fail();
  const userKey = createNkey("user");
  const inboxPrefix = "_INBOX.countersign";
  const jwt = encodeNatsJwt<"user">({
    name: "countersign",
    subject: userKey.publicKey,
    signer,
    issuedAt: testClock(),
    claims: {
      ...{ type: "user", pub: { allow }, sub: { allow: [`${inboxPrefix}.>`] } },
      ...{ subs: -1, data: -1, payload: -1 },
    },
  });
  return { jwt, userKey, inboxPrefix, account: signer.publicKey };
}

test("examineSystem() says which servers it reaches with the user that init makes", async () => {
  const found = await examine(cluster.keys);
  assert.deepEqual([found?.check, found?.ok, found?.remedy], ["system account", true, ""]);
  assert.match(found?.found ?? "", /^test list connections \(\d+ now\) and let it cut them$/);
});

test("examineSystem() says what is lost without that user, which some clusters cannot give", async () => {
  const { system, direct, ...keys } = cluster.keys;
  const found = await examine(keys);
  assert.deepEqual([found?.ok, found?.remedy], [true, ""]);
  assert.match(found?.found ?? "", /no direct connection/);
  assert(direct, "clients connect by themselves in a new cluster");
  const needed = await examine({ ...keys, direct });
  assert.equal(needed?.ok, false);
  assert.match(needed?.remedy ?? "", /system\.creds/);
});

test("examineSystem() finds a user that may not list, and one that may not kick", async () => {
  const { pub } = systemPermissionsOf(accountsOf(cluster.keys));
  const all = pub.allow ?? [];
  const cases = [
    [/KICK/, /test does not let it cut connections/],
    [/CONNZ/, /Permissions Violation for Publish to "\$SYS\.REQ\.ACCOUNT\./i],
  ] as const;
  for (const [without, why] of cases) {
    const user = await userWith(all.filter((subject) => !without.test(subject)));
    const found = await examine({ ...cluster.keys, system: user });
    assert.equal(found?.ok, false);
    assert.match(found?.found ?? "", why);
    assert.match(found?.remedy ?? "", /system\.creds/);
  }
});
