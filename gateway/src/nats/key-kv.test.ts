import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { SealPublicJwk } from "../keys/directory.ts";
import { type Control, openControl } from "./control.ts";
import { createKeyKv } from "./key-kv.ts";
import { controlOptionsOf, startCluster, type TestCluster } from "./testing/cluster.ts";

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

function jwkOf(letter: string, overrides: Partial<SealPublicJwk> = {}): SealPublicJwk {
  const each = letter.repeat(43);
  return {
    kty: "EC",
    crv: "P-256",
    x: each,
    y: each,
    kid: each,
    alg: "ES256",
    use: "sig",
    nbf: 1_000,
    exp: 2_000,
    ...overrides,
  };
}

test("publish() makes a key known to every instance, and again changes nothing", async () => {
  const [here, there] = [createKeyKv(control), createKeyKv(control)];
  assert.deepEqual(await there.all(), []);
  assert.equal(await there.get("a".repeat(43)), undefined);
  await here.publish(jwkOf("a"), "one");
  await here.publish(jwkOf("a"), "one");
  await there.publish(jwkOf("b"), "two");
  const byKid = (keys: readonly SealPublicJwk[]) =>
    keys.toSorted((left, right) => (left.kid < right.kid ? -1 : 1));
  assert.deepEqual(byKid(await there.all()), [jwkOf("a"), jwkOf("b")]);
  assert.deepEqual(byKid(await here.all()), [jwkOf("a"), jwkOf("b")]);
  assert.deepEqual(await createKeyKv(control).get("a".repeat(43)), jwkOf("a"));
});

test("publish() rejects another key under a kid that is taken", async () => {
  const directory = createKeyKv(control);
  await directory.publish(jwkOf("c"), "one");
  await assert.rejects(directory.publish(jwkOf("c", { x: "d".repeat(43) }), "two"), /another key/);
  assert.deepEqual(await directory.get("c".repeat(43)), jwkOf("c"));
});

test("get() gives no private member and no damaged key", async () => {
  const directory = createKeyKv(control);
  const [whole, damaged] = [jwkOf("e"), jwkOf("f")];
  await control.jetstream.publish(
    `$KV.keys.${whole.kid}`,
    JSON.stringify({ jwk: { ...whole, d: "secret" } }),
  );
  await control.jetstream.publish(
    `$KV.keys.${damaged.kid}`,
    JSON.stringify({ jwk: { ...damaged, x: "short" } }),
  );
  assert.deepEqual(await directory.get(whole.kid), whole);
  assert.equal(await directory.get(damaged.kid), undefined);
  assert.equal(await directory.get("../x"), undefined);
});
