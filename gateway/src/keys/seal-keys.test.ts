import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import type { PublicKeyDirectory, SealPublicJwk } from "./directory.ts";
import { loadRing } from "./ring-file.ts";
import { openSealKeys, type SealKeys } from "./seal-keys.ts";

const DAY = 86_400;
let stateDirectory: string;
let now: number;
let down: boolean;
let published: Map<string, SealPublicJwk>;

beforeEach(async () => {
  stateDirectory = await mkdtemp(join(tmpdir(), "countersign-seal-keys-"));
  now = 1_790_000_000;
  down = false;
  published = new Map();
});
afterEach(() => rm(stateDirectory, { recursive: true, force: true }));

const directory: PublicKeyDirectory = {
  async publish(jwk, instance) {
    assert.equal(instance, "one");
    if (down) throw new Error("no directory");
    const onDisk = (await loadRing(stateDirectory)).keys.map(({ kid }) => kid);
    assert.ok(onDisk.includes(jwk.kid), "on disk before it is published");
    published.set(jwk.kid, jwk);
  },
  all: async () => [...published.values()],
  get: async (kid) => published.get(kid),
};

function open(): Promise<SealKeys> {
  return openSealKeys({ stateDirectory, directory, instance: "one", clock: () => now });
}

test("openSealKeys() seals with a key that is on disk and published, the same after a restart", async () => {
  const keys = await open();
  assert.equal(keys.current(), undefined);
  await keys.turn();
  const kid = keys.current()?.kid ?? assert.fail("no key");
  assert.ok(published.has(kid));
  await keys.turn();
  assert.equal(published.size, 1);
  const again = await open();
  assert.equal(again.current()?.kid, kid);
});

test("openSealKeys() seals with nothing while the directory takes no key, and says so", async () => {
  down = true;
  const keys = await open();
  await assert.rejects(keys.turn(), /no directory/);
  assert.equal(keys.current(), undefined);
  down = false;
  await keys.turn();
  assert.equal(keys.current()?.kid, [...published.keys()][0]);
});

test("openSealKeys() hands over to the next key a day after it was published", async () => {
  const keys = await open();
  await keys.turn();
  const first = keys.current()?.kid;
  now += 30 * DAY;
  await keys.turn();
  assert.equal(published.size, 2);
  now += DAY - 1;
  assert.equal(keys.current()?.kid, first);
  now += 1;
  assert.equal(keys.current()?.kid, [...published.keys()][1]);
});
