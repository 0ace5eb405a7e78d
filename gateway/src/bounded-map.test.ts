import assert from "node:assert/strict";
import { test } from "node:test";
import { setBounded } from "./bounded-map.ts";

test("setBounded() lets the entry that was set longest ago make room", () => {
  const map = new Map<string, number>();
  for (const [value, key] of ["a", "b", "c"].entries()) setBounded(map, key, value, 2);
  assert.deepEqual(
    [...map],
    [
      ["b", 1],
      ["c", 2],
    ],
  );
});

test("setBounded() keeps an entry that was set again longer than one that was not", () => {
  const map = new Map<string, number>();
  for (const [value, key] of ["a", "b", "a", "c"].entries()) setBounded(map, key, value, 2);
  assert.deepEqual(
    [...map],
    [
      ["a", 2],
      ["c", 3],
    ],
  );
});
