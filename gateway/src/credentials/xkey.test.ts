import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";
import { nkeys } from "@nats-io/transport-node";
import { createXkey, isPublicXkey, xkeyFromSeed } from "./xkey.ts";

const TEXT = Buffer.from("who is it?");

test("createXkey() seals for NATS's own nkeys and opens what it seals, time and again", () => {
  const ours = createXkey();
  const theirs = nkeys.createCurve();
  for (let round = 0; round < 2; round++) {
    const sealed = ours.seal(TEXT, theirs.getPublicKey());
    assert.deepEqual(Buffer.from(theirs.open(sealed ?? TEXT, ours.publicKey) ?? []), TEXT);
    const answer = ours.open(theirs.seal(TEXT, ours.publicKey), theirs.getPublicKey());
    assert.deepEqual(Buffer.from(answer ?? []), TEXT);
  }
});

test("xkeyFromSeed() reads seeds that NATS's own nkeys makes, and makes those it reads", () => {
  const theirs = nkeys.createCurve();
  const seed = Buffer.from(theirs.getSeed()).toString();
  const ours = xkeyFromSeed(seed);
  assert.equal(ours?.publicKey, theirs.getPublicKey());
  assert.equal(ours?.exportSeed(), seed);
  assert.ok(isPublicXkey(theirs.getPublicKey()));
});

test("xkeyFromSeed() refuses other keys and other spellings", () => {
  const seed = createXkey().exportSeed();
  const user = Buffer.from(nkeys.createUser().getSeed()).toString();
  for (const wrong of [
    "",
    "SX",
    seed.toLowerCase(),
    `${seed.slice(0, 20)}${seed[20] === "A" ? "B" : "A"}${seed.slice(21)}`,
    user,
  ]) {
    assert.equal(xkeyFromSeed(wrong), undefined, wrong.slice(0, 3));
  }
  assert.equal(isPublicXkey(nkeys.createUser().getPublicKey()), false);
});

test("open() returns nothing for what was changed, is for another, or from another", () => {
  const [ours, other] = [createXkey(), createXkey()];
  const theirs = nkeys.createCurve();
  const sealed = theirs.seal(TEXT, ours.publicKey);
  const sender = theirs.getPublicKey();
  assert.equal(other.open(sealed, sender), undefined);
  assert.equal(ours.open(sealed, other.publicKey), undefined);
  assert.equal(ours.open(sealed, "X"), undefined);
  assert.equal(ours.seal(TEXT, "X"), undefined);
  for (const at of [0, 3, 4, 27, 28, sealed.length - 1]) {
    const changed = Buffer.from(sealed);
    changed[at] = (changed[at] ?? 0) ^ 1;
    assert.equal(ours.open(changed, sender), undefined, `byte ${at}`);
  }
  for (const length of [0, 4, 28, 30]) assert.equal(ours.open(sealed.subarray(0, length), sender), undefined);
});

test("an Xkey does not show its seed", () => {
  const key = createXkey();
  const secret = key.exportSeed().slice(4, 40);
  assert.ok(!inspect(key, { showHidden: true, depth: 5 }).includes(secret));
  assert.ok(!JSON.stringify(key).includes(secret));
});
