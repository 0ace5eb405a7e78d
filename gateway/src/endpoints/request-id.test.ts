import assert from "node:assert/strict";
import { test } from "node:test";
import { clientRequestIdOf, clientTraceparentOf } from "./request-id.ts";

test("clientRequestIdOf() takes 1–128 harmless characters and nothing else", () => {
  assert.equal(clientRequestIdOf("0193-a_b.C"), "0193-a_b.C");
  assert.equal(clientRequestIdOf("x".repeat(128)), "x".repeat(128));
  const refused = [undefined, "", "x".repeat(129), "a b", "a\n", 'a"', "é", "a/b", ["a", "b"]];
  assert.deepEqual(
    refused.map(clientRequestIdOf),
    refused.map(() => undefined),
  );
});

test("clientTraceparentOf() takes version 00 of W3C Trace Context and nothing else", () => {
  const good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
  assert.equal(clientTraceparentOf(good), good);
  const refused = [
    undefined,
    good.toUpperCase(),
    `${good}-extra`,
    good.replace("00-4bf92f", "ff-4bf92f"),
    "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
    "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
    [good, good],
  ];
  assert.deepEqual(
    refused.map(clientTraceparentOf),
    refused.map(() => undefined),
  );
});
