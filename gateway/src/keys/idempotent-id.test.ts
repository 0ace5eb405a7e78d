import assert from "node:assert/strict";
import { test } from "node:test";
import { createIdempotentId } from "./idempotent-id.ts";

const KEY = Buffer.alloc(32, 7);
const idOf = createIdempotentId(KEY);

test("idempotentId() is one and the same UUID for the same holder, subject and key", () => {
  const id = idOf("demo-ada", "lab.a", "k");
  assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.equal(createIdempotentId(KEY)("demo-ada", "lab.a", "k"), id);
});

test("idempotentId() is another for whatever differs, however it is divided", () => {
  const ids = [
    idOf("demo-ada", "lab.a", "k"),
    idOf("demo-bob", "lab.a", "k"),
    idOf("demo-ada", "lab.b", "k"),
    idOf("demo-ada", "lab.a", "K"),
    idOf("demo-ada agent", "lab.a", "k"),
    idOf("demo-ada", 'lab.a","k', ""),
    createIdempotentId(Buffer.alloc(32, 8))("demo-ada", "lab.a", "k"),
  ];
  assert.equal(new Set(ids).size, ids.length);
});
