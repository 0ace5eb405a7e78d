import assert from "node:assert/strict";
import { test } from "node:test";
import { setBounded } from "./bounded-map.ts";

test("setBounded() drops the entry that was set longest ago", () => {
  const map = new Map<string, number>();
  for (const [index, key] of ["a", "b", "a", "c"].entries()) setBounded(map, key, index, 2);
  assert.deepEqual(
    [...map],
    [
      ["a", 2],
      ["c", 3],
    ],
  );
});
