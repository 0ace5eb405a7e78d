import assert from "node:assert/strict";
import { test } from "node:test";
import { didYouMean, nearest } from "./near.ts";

test("nearest() finds the word that one or two slips away was meant", () => {
  const verbs = ["publish", "subscribe", "request"];
  assert.equal(nearest("pubilsh", verbs), "publish");
  assert.equal(nearest("publis", verbs), "publish");
  assert.equal(nearest("PUBLISH", verbs), "publish");
  assert.equal(nearest("subscibre", verbs), "subscribe");
  assert.equal(nearest("CLIENT_ID_AT_PROVIDER", ["client-id-at-provider"]), "client-id-at-provider");
});

test("nearest() finds nothing in words that are just other words", () => {
  assert.equal(nearest("delete", ["publish", "request"]), undefined);
  assert.equal(nearest("xy", ["ab"]), undefined);
  assert.equal(nearest("x".repeat(10_000), ["x"]), undefined);
  assert.equal(didYouMean("delete", ["publish"]), "");
});
