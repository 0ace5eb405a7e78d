import assert from "node:assert/strict";
import { createSecretKey, randomBytes } from "node:crypto";
import { test } from "node:test";
import { openBox, refreshKeyOf, sealBox } from "./sealed-box.ts";

const key = randomBytes(32);

test("openBox() opens what sealBox() made, and two boxes of one text differ", () => {
  for (const text of ["", "refresh", "日本 😀", "x".repeat(3_000)]) {
    const box = sealBox(key, text, "context");
    assert.equal(openBox(createSecretKey(key), box, "context"), text);
    assert.notEqual(sealBox(key, text, "context"), box);
  }
});

test("openBox() opens nothing with another key or context, nor anything that was changed by a bit", () => {
  const box = sealBox(key, "refresh", "context");
  assert.equal(openBox(randomBytes(32), box, "context"), undefined);
  assert.equal(openBox(key, box, "contexT"), undefined);
  const bytes = Buffer.from(box, "base64url");
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const changed = Buffer.from(bytes);
    changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    assert.equal(openBox(key, changed.toString("base64url"), "context"), undefined);
  }
  for (const text of ["", "a", box.slice(0, 37), box.slice(4), `${box}AAAA`]) {
    assert.equal(openBox(key, text, "context"), undefined);
  }
});

test("refreshKeyOf() makes another key for each session and each key of ours", () => {
  const keys = [
    refreshKeyOf(key, "session-1"),
    refreshKeyOf(createSecretKey(key), "session-2"),
    refreshKeyOf(randomBytes(32), "session-1"),
  ];
  assert.equal(new Set(keys.map((each) => each.toString("hex"))).size, 3);
  assert.deepEqual(refreshKeyOf(createSecretKey(key), "session-1"), keys[0]);
});
