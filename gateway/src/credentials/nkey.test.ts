import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";
import { nkeys } from "@nats-io/transport-node";
import { decodeBase32, encodeBase32 } from "./base32.ts";
import { createNkey, type NkeyKind, nkeyFromSeed, parsePublicNkey, verifyNkey } from "./nkey.ts";

const KINDS: readonly NkeyKind[] = ["operator", "account", "user", "server"];

test("createNkey() makes keys that NATS's own nkeys reads, and signatures it accepts", () => {
  for (const kind of KINDS) {
    const key = createNkey(kind);
    const oracle = nkeys.fromSeed(Buffer.from(key.exportSeed()));
    assert.equal(oracle.getPublicKey(), key.publicKey);
    assert.deepEqual(Buffer.from(oracle.sign(Buffer.from("nonce"))), key.sign("nonce"));
    assert.ok(nkeys.fromPublic(key.publicKey).verify(Buffer.from("nonce"), key.sign("nonce")));
  }
});

test("nkeyFromSeed() reads seeds that NATS's own nkeys makes", () => {
  const made = [nkeys.createOperator(), nkeys.createAccount(), nkeys.createUser(), nkeys.createServer()];
  for (const [index, oracle] of made.entries()) {
    const seed = Buffer.from(oracle.getSeed()).toString();
    const key = nkeyFromSeed(seed);
    assert.equal(key?.kind, KINDS[index]);
    assert.equal(key?.publicKey, oracle.getPublicKey());
    assert.equal(key?.exportSeed(), seed);
  }
});

test("verifyNkey() refuses another key, other data and what is no key", () => {
  const key = createNkey("user");
  const signature = key.sign("nonce");
  assert.equal(verifyNkey(key.publicKey, "nonce", signature), true);
  assert.equal(verifyNkey(key.publicKey, "nonces", signature), false);
  assert.equal(verifyNkey(createNkey("user").publicKey, "nonce", signature), false);
  assert.equal(verifyNkey("U", "nonce", signature), false);
});

test("nkeyFromSeed() and parsePublicNkey() refuse every other spelling", () => {
  const key = createNkey("account");
  const seed = key.exportSeed();
  const curve = Buffer.from(nkeys.createCurve().getSeed()).toString();
  for (const wrong of [
    "",
    "S",
    key.publicKey,
    seed.toLowerCase(),
    `${seed}=`,
    ` ${seed}`,
    spoil(seed),
    curve,
  ]) {
    assert.equal(nkeyFromSeed(wrong), undefined, wrong.slice(0, 3));
  }
  for (const wrong of ["", "A", seed, key.publicKey.toLowerCase(), spoil(key.publicKey)]) {
    assert.equal(parsePublicNkey(wrong), undefined, wrong.slice(0, 3));
  }
  assert.deepEqual(parsePublicNkey(key.publicKey), { kind: "account", publicKey: key.publicKey });
});

test("Nkey shows its seed neither to inspect nor to JSON", () => {
  const key = createNkey("user");
  const shown = inspect(key, { depth: 10, showHidden: true, getters: true }) + JSON.stringify({ key });
  assert.ok(shown.includes(key.publicKey));
  assert.ok(!shown.includes(key.exportSeed()));
});

test("decodeBase32() reads what encodeBase32() writes and refuses unused bits that are set", () => {
  for (let length = 0; length < 40; length++) {
    const bytes = Buffer.from(Array.from({ length }, (_, index) => (index * 89 + length) & 0xff));
    assert.deepEqual(decodeBase32(encodeBase32(bytes)), bytes);
  }
  assert.equal(encodeBase32(Buffer.from("foobar")), "MZXW6YTBOI");
  assert.equal(decodeBase32("MZXW6YTBOJ"), undefined);
  assert.equal(decodeBase32("A"), undefined);
});

function spoil(text: string): string {
  return text.slice(0, 20) + (text[20] === "A" ? "B" : "A") + text.slice(21);
}
