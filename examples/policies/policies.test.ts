import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { parsePolicy } from "countersign/policy/parse.ts";
import { formatMistake } from "countersign/policy/policy.ts";
import { runPolicyTests } from "countersign/policy/run-tests.ts";
import { fitsSchema } from "countersign/policy/schema.ts";
import { parse } from "yaml";

const FOLDER = new URL(".", import.meta.url);
const NAMES = readdirSync(FOLDER).filter((name) => name.endsWith(".yaml"));

test("there is an example of each kind, and the table names every one", () => {
  const readme = readFileSync(new URL("README.md", FOLDER), "utf8");
  assert.equal(NAMES.length, 10);
  for (const name of NAMES) assert(readme.includes(`| ${name} `), name);
});

for (const name of NAMES) {
  test(`${name} is right, without warnings, passes its own tests, and fits the schema`, () => {
    const text = readFileSync(new URL(name, FOLDER), "utf8");
    const parsed = parsePolicy([{ path: name, text }]);
    assert(parsed.ok, parsed.ok ? "" : parsed.mistakes.map(formatMistake).join("\n"));
    assert.deepEqual(parsed.warnings, []);
    const results = runPolicyTests(parsed.policy, Date.now() / 1000);
    assert(results.length > 0);
    assert.deepEqual(
      results.filter(({ passed }) => !passed),
      [],
    );
    assert(fitsSchema(parse(text)));
  });
}
