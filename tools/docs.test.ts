import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { PAGES } from "./docs.ts";

for (const [page, make] of Object.entries(PAGES)) {
  test(`docs.ts makes ${page} as it stands; if not, run: npm run docs`, () => {
    assert.equal(readFileSync(join(import.meta.dirname, "..", page), "utf8"), make());
  });
}

test("docs.ts describes every key, since a key without a word is a key to guess", () => {
  for (const make of Object.values(PAGES)) assert.doesNotMatch(make(), /\| {2}\|$/m);
});
