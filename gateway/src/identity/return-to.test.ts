import assert from "node:assert/strict";
import { test } from "node:test";
import { parseReturnTo } from "./return-to.ts";

const publicUrl = "https://apps.example.com/bus";

test("parseReturnTo() takes a path of our origin, normalised", () => {
  for (const [returnTo, expected] of [
    ["/", "/"],
    ["/bus/demo?x=1&y=//a#top", "/bus/demo?x=1&y=//a#top"],
    ["/a/../b/./c", "/b/c"],
    ["/%2e%2e/a", "/a"],
    ["/?https://evil.example", "/?https://evil.example"],
    ["/@evil.example", "/@evil.example"],
  ]) {
    assert.deepEqual(parseReturnTo(returnTo ?? "", publicUrl), { ok: true, value: expected });
  }
});

test("parseReturnTo() refuses whatever a browser could take for another origin", () => {
  for (const returnTo of [
    ...[
      "",
      "demo",
      "https://evil.example",
      "https:evil.example",
      "HTTPS://apps.example.com/",
      "javascript:alert(1)",
    ],
    ...[
      "//evil.example",
      "///evil.example",
      "/\\evil.example",
      "\\\\evil.example",
      "\\/evil.example",
      "/a\\b",
    ],
    ...[
      "/\t/evil.example",
      "/\n/evil.example",
      "\t//evil.example",
      " //evil.example",
      "/ /evil.example",
      "/a b",
    ],
    ...[
      "/.//evil.example",
      "/..//evil.example",
      "/a/..//evil.example",
      "/%2e//evil.example",
      "/./\\evil.example",
    ],
    ...["/\u0000", "/ä", "/\u2028", "@evil.example", ".evil.example", "?x", "#x"],
  ]) {
    const why = "not a path of this origin";
    const refusal = { reason: "request_invalid", what: "return-to", why } as const;
    assert.deepEqual(parseReturnTo(returnTo, publicUrl), { ok: false, refusal }, JSON.stringify(returnTo));
  }
});

test("parseReturnTo() bounds the length", () => {
  assert.equal(parseReturnTo(`/${"a".repeat(1_023)}`, publicUrl).ok, true);
  assert.deepEqual(parseReturnTo(`/${"a".repeat(1_024)}`, publicUrl), {
    ok: false,
    refusal: { reason: "request_invalid", what: "return-to", why: "longer than 1024 characters" },
  });
});
