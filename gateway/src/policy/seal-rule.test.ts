import assert from "node:assert/strict";
import { test } from "node:test";
import { sealRuleOf } from "./seal-rule.ts";
import { policyOf } from "./testing/fixtures.ts";

test("sealRuleOf() takes each setting from the most specific pattern that makes it", () => {
  const policy = policyOf(`version: 1
subjects:
  payments.>: { seal: token, audit: durable }
  payments.eu.>: { seal: tree }
  payments.*.void: { seal: token }
  ">": { audit: durable }
`);
  assert.deepEqual(sealRuleOf(policy, "payments.us.pay"), { form: "token", durable: true });
  assert.deepEqual(sealRuleOf(policy, "payments.eu.pay"), { form: "tree", durable: true });
  // A literal counts for more than a wildcard at the first token where they differ.
  assert.deepEqual(sealRuleOf(policy, "payments.eu.void"), { form: "tree", durable: true });
  assert.deepEqual(sealRuleOf(policy, "payments.us.void"), { form: "token", durable: true });
  assert.deepEqual(sealRuleOf(policy, "orders"), { form: "tree", durable: true });
});

test("sealRuleOf() seals by trees and does not wait for the disk where nothing else is said", () => {
  assert.deepEqual(sealRuleOf(policyOf("version: 1"), "orders.eu"), { form: "tree", durable: false });
});
