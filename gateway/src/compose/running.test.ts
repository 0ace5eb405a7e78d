import assert from "node:assert/strict";
import { test } from "node:test";
import { ReadinessList, Running } from "./running.ts";

test("Running ends everything once, in the opposite order, and waits for each", async () => {
  const ended: string[] = [];
  const running = new Running();
  running.add(() => ended.push("first"));
  running.add(async () => {
    await Promise.resolve();
    ended.push("second");
  });
  await running.close();
  await running.close();
  assert.deepEqual(ended, ["second", "first"]);
});

test("Running ends the others when one fails, and reports the first failure last", async () => {
  const ended: string[] = [];
  const running = new Running();
  running.add(() => ended.push("other"));
  running.add(() => {
    throw new Error("stuck");
  });
  await assert.rejects(running.close(), /stuck/);
  assert.deepEqual(ended, ["other"]);
});

test("ReadinessList asks each check anew, and gives the remedy with what is missing", () => {
  let missing: string | undefined = "not connected yet";
  const readiness = new ReadinessList();
  readiness.add("nats", () => missing, "See that it runs.");
  const unready = { check: "nats", ok: false, found: "not connected yet", remedy: "See that it runs." };
  assert.deepEqual(readiness.all(), [unready]);
  missing = undefined;
  assert.deepEqual(readiness.all(), [{ check: "nats", ok: true, found: "ok" }]);
});
