import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { observe } from "./observe.ts";
import { startCluster, type TestCluster } from "./testing/cluster.ts";

let cluster: TestCluster;
before(async () => {
  cluster = await startCluster();
});
after(() => cluster.close());

test("observe() hands over what is published from when it says so until its signal aborts", async () => {
  const admin = await cluster.admin();
  const over = new AbortController();
  const seen: string[] = [];
  await observe({
    server: cluster.url,
    creds: await cluster.adminUser(),
    subject: "observed.*",
    signal: over.signal,
    onSubscribed: () => admin.publish("observed.a"),
    onMessage({ subject }) {
      seen.push(subject);
      over.abort();
    },
  });
  assert.deepEqual(seen, ["observed.a"]);
});

test("observe() ends at once, and quietly, when its signal has aborted before", async () => {
  const onMessage = () => assert.fail("nothing is observed any more");
  await observe({
    server: cluster.url,
    creds: await cluster.adminUser(),
    subject: "observed.>",
    signal: AbortSignal.abort(),
    onMessage,
  });
});

test("observe() says that the connection ended", async () => {
  const { signal } = new AbortController();
  const observed = observe({
    server: cluster.url,
    creds: await cluster.adminUser(),
    subject: "observed.>",
    signal,
    onMessage: () => void cluster.stop(),
  });
  const admin = await cluster.admin();
  const publishing = setInterval(() => admin.publish("observed.a"), 20);
  await assert
    .rejects(observed, { code: "NATS_UNREACHABLE", message: `The connection to ${cluster.url} ended` })
    .finally(() => clearInterval(publishing));
});
