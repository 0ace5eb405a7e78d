import assert from "node:assert/strict";
import { test } from "node:test";
import { uuidv7 } from "./uuid.ts";

const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

test("uuidv7() writes the time, the version and the variant as RFC 9562 §5.7 says", () => {
  const id = uuidv7(0x017f22e279b0 + 0.9);
  assert.match(id, UUID_V7);
  assert.ok(id.startsWith("017f22e2-79b0-7"));
});

test("uuidv7() ascends within a millisecond and never repeats, also beyond its counter", () => {
  const ids = Array.from({ length: 20_000 }, () => uuidv7(1_795_000_000_000));
  assert.deepEqual(ids, ids.toSorted());
  assert.equal(new Set(ids).size, ids.length);
  assert.ok(ids.every((id) => UUID_V7.test(id)));
});

test("uuidv7() follows the clock back without repeating", () => {
  const ids = Array.from({ length: 2_000 }, (_, index) => uuidv7(1_795_000_000_000 + (index % 2)));
  assert.equal(new Set(ids).size, ids.length);
});
