import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { GatewayError } from "../errors.ts";
import { openControl } from "./control.ts";
import { createDial } from "./dial.ts";
import { controlOptionsOf, startCluster, type TestCluster, until } from "./testing/cluster.ts";
import { startFakeServer } from "./testing/fake-server.ts";

let cluster: TestCluster;
before(async () => {
  cluster = await startCluster();
});
after(() => cluster.close());

test("openControl() creates the streams once and mends their settings", async () => {
  const options = controlOptionsOf(cluster, "one");
  const first = await openControl(options);
  const info = await first.manager.streams.info("KV_not-before");
  assert.equal(info.config.max_age, 7_200e9);
  assert.equal(first.unready(), undefined);
  await first.close();
  const second = await openControl({ ...options, proofLifeSecondsMax: 7_200 });
  assert.equal((await second.manager.streams.info("KV_not-before")).config.max_age, 10_800e9);
  await second.close();
});

test("openControl() gives up in time when no server answers", async () => {
  const dial = createDial({ servers: ["nats://127.0.0.1:1"] });
  const started = Date.now();
  await assert.rejects(
    openControl({ ...controlOptionsOf(cluster, "one"), dial, startTimeoutMs: 600 }),
    (error) => error instanceof GatewayError && error.code === "NATS_UNREACHABLE",
  );
  assert.ok(Date.now() - started < 3_000);
});

test("openControl() is refused without the trusted proxy's signature", async () => {
  const { proxyKey: _, ...stolen } = controlOptionsOf(cluster, "one");
  await assert.rejects(
    openControl({ ...stolen, startTimeoutMs: 0 }),
    (error) => error instanceof GatewayError && /authorization violation/i.test(error.message),
  );
});

test("unready() tells of a lost connection until NATS is back", async () => {
  const control = await openControl(controlOptionsOf(cluster, "one"));
  const states: (string | undefined)[] = [];
  const back = Promise.withResolvers<void>();
  control.onChange((unready) => {
    states.push(unready);
    if (unready === undefined) back.resolve();
  });
  await cluster.restart();
  await back.promise;
  assert.deepEqual(states, ["the connection to CONTROL is lost", undefined]);
  await control.close();
});

test("unready() stays when an older server takes the place of the one that went away", async () => {
  const control = await openControl(controlOptionsOf(cluster, "one"));
  const port = cluster.servers[0]?.port ?? 0;
  await cluster.stop();
  const older = await startFakeServer({ version: "2.10.27", nonce: "n" }, port);
  try {
    await until(() => control.unready()?.includes("2.10.27") === true, 20_000);
  } finally {
    older.close();
  }
  await cluster.restart();
  await until(() => control.unready() === undefined, 20_000);
  await control.close();
});
