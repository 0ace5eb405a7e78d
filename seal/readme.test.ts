import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { SEAL_ERROR_CODES } from "./src/index.ts";

const README = readFileSync(join(import.meta.dirname, "README.md"), "utf8");
const EXAMPLE = readFileSync(join(import.meta.dirname, "../examples/verify-subscriber/main.ts"), "utf8");

test("the README shows the end of examples/verify-subscriber, which compiles", () => {
  const code = README.match(/```ts\n([\s\S]*?)```/)?.[1];
  assert.ok(code);
  assert.ok(EXAMPLE.endsWith(code));
});

test("the README explains every error code, in the order of the checks", () => {
  const table = README.slice(
    README.indexOf("## What is checked"),
    README.indexOf("**Headers under the seal**"),
  );
  const found = [...table.matchAll(/^\| (`[^|]*`) +\|/gm)].flatMap(([, codes = ""]) => codes.split(", "));
  assert.deepEqual(
    found,
    SEAL_ERROR_CODES.map((code) => `\`${code}\``),
  );
});
