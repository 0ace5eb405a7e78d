import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { parseConfigFile } from "../config/config-file.ts";
import { examineConfigs } from "./examine.ts";

const CORPUS = join(import.meta.dirname, "..", "testing", "corpus");
const CONFIGS = readdirSync(CORPUS)
  .filter((name) => name.endsWith(".txt"))
  .map((name) => readFileSync(join(CORPUS, name), "utf8"))
  .flatMap((text) => [...text.matchAll(/^--- (?:bus\/)?web\.config\n([\s\S]*?)(?=^--- |^=====)/gm)])
  .map(([, config = ""]) => config);

/** What may come of any file: findings, or a reason why it is not read. */
function examine(bytes: Uint8Array): number {
  const config = parseConfigFile("web.config", bytes);
  if ("why" in config) {
    assert.notEqual(config.why, "");
    return -1;
  }
  const { findings } = examineConfigs([{ config, folder: "/c" }], { assumeGateway: true });
  for (const { line, column, found } of findings) {
    assert(line > 0 && column > 0 && found.length < 2_000, found);
    assert.doesNotMatch(found, /\p{Cc}/u);
  }
  return findings.length;
}

/** What may stand in the place of a value, or anywhere. */
const put = fc.oneof(
  fc.string({ unit: "binary", maxLength: 8 }),
  fc.constantFrom(
    '"',
    "<",
    "&",
    "<!--",
    "-->",
    "]]>",
    "{",
    "{a:",
    "://",
    "http://[",
    "*",
    "-1",
    "0x",
    "1.",
    "::",
    "true",
  ),
);
const place = { config: fc.constantFrom(...CONFIGS), at: fc.double({ min: 0, max: 1, noNaN: true }) };

/** The one of all matches that lies so far down the text. */
function replaceOne(text: string, pattern: RegExp, at: number, by: string): string {
  const found = [...text.matchAll(pattern)];
  const one = found[Math.floor(at * (found.length - 1))];
  return one ? text.slice(0, one.index) + by + text.slice(one.index + one[0].length) : text;
}

test("examineConfigs() takes any damage to a file for damage, or for a finding", () => {
  fc.assert(
    fc.property(fc.record({ ...place, length: fc.nat(40), put }), (damage) => {
      const from = Math.floor(damage.at * damage.config.length);
      examine(
        Buffer.from(damage.config.slice(0, from) + damage.put + damage.config.slice(from + damage.length)),
      );
    }),
    { numRuns: 1_000 },
  );
});

test("examineConfigs() takes any value for a value, and any element for one that may be missing", () => {
  let read = 0;
  fc.assert(
    fc.property(fc.record({ ...place, put, drops: fc.boolean() }), ({ config, at, put: value, drops }) => {
      const escaped = value.replace(/[&<"]/g, (character) => `&#${character.charCodeAt(0)};`);
      const changed = drops
        ? replaceOne(config, /<[A-Za-z][^<>]*\/>/g, at, "")
        : replaceOne(config, /(?<==)"[^"]*"/g, at, `"${escaped}"`);
      if (examine(Buffer.from(changed)) >= 0) read += 1;
    }),
    { numRuns: 3_000 },
  );
  assert(read > 1_500, `only ${read} of them could be read`);
});

test("examineConfigs() is done in its time with what is large in one way or another", () => {
  const many = (count: number, one: (index: number) => string): string =>
    Array.from({ length: count }, (_, index) => one(index)).join("");
  const web = (inside: string): string =>
    `<configuration><system.webServer>${inside}</system.webServer></configuration>`;
  const rule = (name: string): string =>
    `<rule name="${name}"><match url=".*"/><serverVariables><set name="HTTP_X_USER" value="{LOGON_USER}"/></serverVariables><action type="Rewrite" url="http://localhost:1/{R:1}"/></rule>`;
  const large = [
    web(`<rewrite><rules>${many(2_000, (index) => rule(`r${index}`))}</rules></rewrite>`),
    web(`<rewrite><rules>${many(2_000, () => rule("same"))}</rules></rewrite>`),
    web(
      `<handlers>${many(20_000, (index) => `<add name="a${index}" path="*" verb="*"/><remove name="b${index}"/>`)}</handlers>`,
    ),
    web(`<aspNetCore processPath="node" arguments="${"C:\\a ".repeat(100_000)}"/>`),
    web(`<aspNetCore ${many(20_000, (index) => `a${index}="1"`.padEnd(10))}/>`),
    web("<!-- a -- b -->".repeat(100_000)),
    `<configuration>${many(1_900, (index) => `<location path="p${index}/q"><system.webServer><httpErrors existingResponse="x"/></system.webServer></location>`)}</configuration>`,
  ];
  for (const text of large) {
    const begun = process.cpuUsage();
    const findings = examine(Buffer.from(text));
    const { user } = process.cpuUsage(begun);
    assert(findings <= 500);
    // What is quadratic takes minutes of these.
    assert(user < 20_000_000, `${text.slice(0, 60)}: ${user / 1e6} s`);
  }
});
