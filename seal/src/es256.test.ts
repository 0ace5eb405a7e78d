import assert from "node:assert/strict";
import { generateKeyPairSync, sign, verify } from "node:crypto";
import { test } from "node:test";
import { decodeBase64url } from "./base64url.ts";
import { signEs256, verifyEs256 } from "./es256.ts";

const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
const P1363 = "ieee-p1363";

// 600 signatures: about two have a part of 31 bytes or fewer on each side, which the conversion must pad.
test("signEs256() and verifyEs256() agree with node:crypto's own P1363 form, short integers included", () => {
  for (let round = 0; round < 600; round++) {
    const input = `input ${round}`;
    const ours = signEs256(input, privateKey);
    assert.equal(verify("sha256", Buffer.from(input), { key: publicKey, dsaEncoding: P1363 }, ours), true);
    const theirs = sign("sha256", Buffer.from(input), { key: privateKey, dsaEncoding: P1363 });
    assert.equal(verifyEs256(input, theirs, publicKey), true);
    assert.equal(verifyEs256(`${input}.`, theirs, publicKey), false);
  }
});

test("verifyEs256() refuses zeros, DER, and other lengths", () => {
  const der = sign("sha256", Buffer.from("x"), privateKey);
  for (const signature of [
    Buffer.alloc(64),
    Buffer.alloc(0),
    Buffer.alloc(63),
    Buffer.alloc(64, 0xff),
    der,
  ]) {
    assert.equal(verifyEs256("x", signature, publicKey), false);
  }
});

test("verifyEs256() refuses a signature whose second integer lost its leading zero", () => {
  let signature = signEs256("x", privateKey);
  while (signature[32] !== 0) signature = signEs256("x", privateKey);
  assert.equal(verifyEs256("x", signature, publicKey), true);
  const shortened = Buffer.concat([signature.subarray(0, 32), signature.subarray(33)]);
  assert.equal(verifyEs256("x", shortened, publicKey), false);
});

test("decodeBase64url() accepts one spelling of each value", () => {
  assert.deepEqual(decodeBase64url("-_8"), Buffer.of(0xfb, 0xff));
  for (const text of ["-_8=", "+/8", "-_9", "-_8 ", " -_8", "-", "é"])
    assert.equal(decodeBase64url(text), undefined);
});
