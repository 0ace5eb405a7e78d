import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { type Control, openControl } from "./control.ts";
import { createDial } from "./dial.ts";
import { checkFitness, type FitnessParts } from "./fitness.ts";
import { controlOptionsOf, startCluster, type TestCluster, testClock } from "./testing/cluster.ts";

let cluster: TestCluster;
let control: Control;
before(async () => {
  cluster = await startCluster();
  control = await openControl(controlOptionsOf(cluster, "one"));
});
after(async () => {
  await control?.close();
  await cluster?.close();
});

function partsOf({ keys, dial }: TestCluster): FitnessParts {
  return {
    dial,
    control,
    user: keys.control,
    ...(keys.proxyKey && { proxyKey: keys.proxyKey }),
    ...(keys.system && { system: keys.system }),
    controlLineBytesMax: 1_000_000,
    clock: testClock,
  };
}

async function failing(parts: FitnessParts) {
  return (await checkFitness(parts)).filter(({ ok }) => !ok);
}

test("checkFitness() finds nothing wrong with a cluster as init makes it", async () => {
  const findings = await checkFitness(partsOf(cluster));
  assert.deepEqual(
    findings.map(({ check, ok, remedy }) => [check, ok, remedy]),
    ["server-version", "jetstream", "control-line", "clock", "trusted-proxy"].map((check) => [
      check,
      true,
      "",
    ]),
  );
  assert.match(findings[0]?.found ?? "", /^test \d+\.\d+\.\d+/);
});

test("checkFitness() knows one server's version without a system user", async () => {
  const { system: _, ...parts } = partsOf(cluster);
  assert.match((await checkFitness(parts))[0]?.found ?? "", /^test \d+\.\d+\.\d+/);
});

test("checkFitness() finds a control line shorter than credentials are minted for", async () => {
  const found = await failing({ ...partsOf(cluster), controlLineBytesMax: 3_000_000 });
  assert.deepEqual(
    found.map(({ check }) => check),
    ["control-line"],
  );
});

test("checkFitness() finds a clock that is off, either way", async () => {
  for (const seconds of [60, -60]) {
    const found = await failing({ ...partsOf(cluster), clock: () => testClock() + seconds });
    assert.deepEqual(
      found.map(({ check }) => check),
      ["clock"],
    );
  }
});

test("checkFitness() finds a proxy that need not vouch: a credential without proxy_required is taken", async () => {
  const found = await failing({ ...partsOf(cluster), user: await cluster.adminUser() });
  assert.deepEqual(
    found.map(({ check }) => check),
    ["trusted-proxy"],
  );
});

test("checkFitness() says so when it cannot look", async () => {
  const found = await failing({ ...partsOf(cluster), dial: createDial({ servers: ["nats://127.0.0.1:1"] }) });
  assert.deepEqual(
    found.map(({ check }) => check),
    ["server-version", "control-line", "trusted-proxy"],
  );
});
