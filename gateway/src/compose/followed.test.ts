import assert from "node:assert/strict";
import { test } from "node:test";
import { followed } from "./followed.ts";

test("followed() reads again after ten seconds, and keeps what it has while that cannot be read", () => {
  let now = 1_000;
  let file: string | Error = "first";
  const failures: string[] = [];
  const current = followed(
    () => {
      if (file instanceof Error) throw file;
      return file;
    },
    () => now,
    (why) => failures.push(why),
  );
  file = "second";
  now = 1_009;
  assert.equal(current(), "first");
  now = 1_010;
  assert.equal(current(), "second");
  file = new Error("half written");
  now = 1_020;
  assert.equal(current(), "second");
  assert.equal(current(), "second");
  assert.deepEqual(failures, ["half written"]);
  // A clock that is set back must not keep an old secret alive.
  file = "third";
  now = 500;
  assert.equal(current(), "third");
});

test("followed() does not begin with a secret that cannot be read", () => {
  const read = () => {
    throw new Error("missing");
  };
  assert.throws(() => followed(read, () => 0, assert.fail), /missing/);
});
