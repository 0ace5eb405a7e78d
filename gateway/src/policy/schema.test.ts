import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { parse } from "yaml";
import { VERBS } from "./line.ts";
import { fitsSchema, policySchema } from "./schema.ts";

test("the schema accepts the devstack's policy", () => {
  const text = readFileSync(new URL("../../../devstack/policy.yaml", import.meta.url), "utf8");
  assert(fitsSchema(parse(text)));
});

const WRONG: Readonly<Record<string, unknown>> = {
  "an unknown section": { version: 1, rolse: {} },
  "an unknown key of a role": { version: 1, roles: { r: { "given-to": [], mya: [] } } },
  "a mistyped verb": { version: 1, never: ["pubilsh a"] },
  "a number as a group": { version: 1, roles: { r: { "given-to": [{ issuer: "demo", groups: 7 }] } } },
  "a line without its issuer": { version: 1, roles: { r: { "given-to": [{ groups: "A" }] } } },
  "another version": { version: 2 },
};

for (const [name, document] of Object.entries(WRONG)) {
  test(`the schema refuses ${name}`, () => assert(!fitsSchema(document)));
}

test("the schema names every verb, for completion", () => {
  const text = JSON.stringify(policySchema());
  for (const verb of VERBS) assert(text.includes(verb), verb);
});
