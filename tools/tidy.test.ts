import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { tidy } from "./tidy.ts";

/** A tree that has nothing to mend. */
const CLEAN: Readonly<Record<string, string>> = {
  "ARCHITECTURE.md": `
| part        | may import |
| ----------- | ---------- |
| seal        |            |
| audit, keys |            |
| endpoints   | audit      |
| main        | endpoints  |
`,
  "package.json": '{ "scripts": { "start": "node gateway/src/main.ts" } }',
  "seal/package.json": '{ "exports": "./src/index.ts" }',
  "seal/src/index.ts": "export const a = 1;\n",
  "gateway/src/main.ts": 'import "./endpoints/publish.ts";\n',
  "gateway/src/refusal.ts": '  | { readonly reason: "not_granted" }\n',
  "gateway/src/endpoints/publish.ts":
    'import { b } from "../audit/log.ts";\nimport type { R } from "../refusal.ts";\n',
  "gateway/src/endpoints/publish.test.ts": 'assert.equal(reason, "not_granted");\n',
  "gateway/src/audit/log.ts": "// Not Date.now(), the clock is passed in.\nexport const b = 2;\n",
};

/** Findings, as `file:line: why`, of the clean tree with these files besides or instead. */
function findingsOf(files: Readonly<Record<string, string>>): readonly string[] {
  const root = mkdtempSync(join(tmpdir(), "countersign-tidy-"));
  try {
    const all = { ...CLEAN, ...files };
    for (const [file, text] of Object.entries(all)) {
      mkdirSync(dirname(join(root, file)), { recursive: true });
      writeFileSync(join(root, file), text.replaceAll("ROOT", root));
    }
    return tidy(root, Object.keys(all)).map(({ file, line, why }) => `${file}:${line}: ${why}`);
  } finally {
    rmSync(root, { recursive: true });
  }
}

test("tidy() finds nothing in a clean tree", () => {
  assert.deepEqual(findingsOf({}), []);
});

/** Put together here, so that this file does not hold what it plants. */
const unfinished = `TO${"DO"}`;
const only = `test.on${"ly"}(`;
const home = ["", "home", "ann", "x"].join("/");

const planted: readonly (readonly [
  what: string,
  files: Readonly<Record<string, string>>,
  finding: RegExp,
])[] = [
  [
    "an arrow that the table does not have",
    {
      "gateway/src/audit/log.ts": 'export const b = 2;\nimport { p } from "../endpoints/other.ts";\n',
      "gateway/src/endpoints/other.ts": "",
    },
    /^gateway\/src\/audit\/log\.ts:2: audit may not import endpoints/,
  ],
  [
    "seal that imports the gateway",
    { "seal/src/index.ts": 'import { r } from "../../gateway/src/refusal.ts";\n' },
    /^seal\/src\/index\.ts:1: seal may not import refusal/,
  ],
  [
    "an arrow in an import() and through a package name",
    { "gateway/src/audit/log.ts": 'const b = await import("@countersign/seal");\n' },
    /^gateway\/src\/audit\/log\.ts:1: audit may not import seal/,
  ],
  [
    "a part without a row",
    { "gateway/package.json": '{ "bin": "src/new.ts" }', "gateway/src/new.ts": "" },
    /^gateway\/src\/new\.ts:1: the import table of ARCHITECTURE\.md has no row for new/,
  ],
  [
    "a circle",
    { "gateway/src/audit/log.ts": 'import "./c.ts";\n', "gateway/src/audit/c.ts": 'import "./log.ts";\n' },
    /^gateway\/src\/audit\/log\.ts:1: imports itself in a circle: .*log\.ts → .*c\.ts → .*log\.ts$/,
  ],
  [
    "a file that nothing uses",
    { "gateway/src/audit/dead.ts": "" },
    /^gateway\/src\/audit\/dead\.ts:1: nothing uses this file/,
  ],
  [
    "a file that only its test uses",
    { "gateway/src/audit/dead.ts": "", "gateway/src/audit/dead.test.ts": 'import "./dead.ts";\n' },
    /^gateway\/src\/audit\/dead\.ts:1: only tests use this file/,
  ],
  [
    "a helper of tests that no test uses",
    { "gateway/src/audit/testing/dead.ts": "" },
    /^gateway\/src\/audit\/testing\/dead\.ts:1: nothing uses this file/,
  ],
  [
    "a clock that is read",
    { "gateway/src/audit/log.ts": "export const b = 2;\nconst now = Date.now();\n" },
    /^gateway\/src\/audit\/log\.ts:2: reads the clock/,
  ],
  [
    "a clock that is read behind a comment's look",
    { "gateway/src/audit/log.ts": 'const now = new Date(); // "when"\n' },
    /^gateway\/src\/audit\/log\.ts:1: reads the clock/,
  ],
  [
    "the console",
    { "seal/src/index.ts": "console.log(1);\n" },
    /^seal\/src\/index\.ts:1: writes to the console/,
  ],
  [
    "a test that hides the others",
    { "gateway/src/audit/log.test.ts": `\n${only}"x", () => {});\n` },
    /^gateway\/src\/audit\/log\.test\.ts:2: runs one test/,
  ],
  [
    "a debugger",
    { "gateway/src/audit/log.ts": "  debugger;\n" },
    /^gateway\/src\/audit\/log\.ts:1: stops in the debugger/,
  ],
  [
    "what says in a comment that it is unfinished",
    { "gateway/src/audit/log.ts": `// ${unfinished}: all of it\n` },
    /^gateway\/src\/audit\/log\.ts:1: says that it is unfinished/,
  ],
  [
    "a file of too many lines",
    { "gateway/src/audit/log.ts": "\n".repeat(401) },
    /^gateway\/src\/audit\/log\.ts:401: longer than 400 lines/,
  ],
  [
    "the folder of the checkout",
    { "README.md": "\ncd ROOT/x\n" },
    /^README\.md:2: names a folder of one machine/,
  ],
  [
    "somebody's home folder",
    { "README.md": `cat ${home}\n` },
    /^README\.md:1: names a folder of one machine/,
  ],
  [
    "an address in the lock file",
    { "package-lock.json": '{\n"resolved": "https://packages.example/x.tgz"\n}\n' },
    /^package-lock\.json:2: names the address it was downloaded from/,
  ],
  [
    "an arm that no test provokes",
    {
      "gateway/src/refusal.ts": '\n  | { readonly reason: "never" }\n',
      "gateway/src/endpoints/problem.test.ts": '"never"',
    },
    /^gateway\/src\/refusal\.ts:2: no test provokes "never"/,
  ],
];

for (const [what, files, finding] of planted) {
  test(`tidy() finds ${what}, and nothing else`, () => {
    const findings = findingsOf(files);
    assert.equal(findings.length, 1, findings.join("\n"));
    assert.match(findings[0] ?? "", finding);
  });
}

test("tidy() leaves pictures alone", () => {
  assert.deepEqual(findingsOf({ "logo.png": `\0${home}` }), []);
});

test("tidy() follows the names of packages to what a test uses of the devstack", () => {
  const found = findingsOf({
    "devstack/src/browser.ts": "",
    "examples/page.test.ts": 'import "@countersign/devstack/browser.ts";\n',
  });
  assert.deepEqual(found, []);
});
