import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { formatMistake, loadConfig, parseConfig } from "./load.ts";

const golden = join(import.meta.dirname, "golden");
const SEPARATOR = "\n----------\n";

for (const name of readdirSync(golden)) {
  test(`parseConfig() answers as golden/${name} shows`, (t) => {
    const [input = ""] = readFileSync(join(golden, name), "utf8").split(SEPARATOR);
    const parsed = parseConfig(`${input}\n`, { file: "/etc/countersign/countersign.yaml", env: {} });
    const output = parsed.ok
      ? JSON.stringify(
          parsed.config,
          (_, value) => (typeof value === "function" ? "(read when needed)" : value),
          2,
        )
      : parsed.mistakes.map((mistake) => formatMistake({ ...mistake, file: "countersign.yaml" })).join("\n");
    assert.doesNotMatch(output, /hunter2|BEGIN/);
    t.assert.fileSnapshot(`${input}${SEPARATOR}${output}`, join(golden, name), { serializers: [String] });
  });
}

function example(client: string): string {
  return `
public-url: https://bus.example.com
listen: { address: 127.0.0.1:8480 }
trust-domain: example.com
issuers: { demo: { url: https://login.example.com, audience: a, client: { id: x, ${client} } } }
nats: { servers: [ tls://n:4222 ], keys: keys }
policy: policy.yaml
audit: [ stdout ]
`;
}

/** Runs with a folder that holds a configuration and a secret of this mode and content. */
async function withFiles(
  { mode, content, client }: { readonly mode: number; readonly content: string; readonly client: string },
  run: (files: { readonly config: string; readonly secret: string }) => void | Promise<void>,
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "countersign-config-"));
  try {
    const files = { config: join(folder, "countersign.yaml"), secret: join(folder, "secret") };
    writeFileSync(files.config, example(client));
    writeFileSync(files.secret, content);
    chmodSync(files.secret, mode);
    await run(files);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const fromFile = "secret: { file: secret }";

test("loadConfig() reads a secret anew each time, without the white space around it", () =>
  withFiles({ mode: 0o600, content: " first\n", client: fromFile }, async (files) => {
    const secret = (await loadConfig(files.config)).issuers[0]?.client?.secret;
    assert.equal(secret?.(), "first");
    writeFileSync(files.secret, "second\n");
    assert.equal(secret?.(), "second");
  }));

const unreadable: readonly (readonly [
  what: string,
  mode: number,
  content: string,
  client: string,
  why: RegExp,
])[] = [
  [
    "others may read",
    0o644,
    "hunter2",
    fromFile,
    /5:90: issuers\.demo\.client\.secret: cannot read .*: others may read it \(mode 0644\)/,
  ],
  ["the group may read", 0o640, "hunter2", fromFile, /others may read it \(mode 0640\)/],
  ["is empty", 0o600, " \n", fromFile, /: it is empty/],
  ["is too large", 0o600, "x".repeat(65_537), fromFile, /: more than 65536 bytes/],
  [
    "has too much white space around it",
    0o600,
    `${" ".repeat(65_536)}s`,
    fromFile,
    /: more than 65536 bytes/,
  ],
  ["is a folder", 0o600, "", "secret: { file: . }", /: it is not a file/],
  ["is not there", 0o600, "hunter2", "secret: { file: other }", /: ENOENT/],
  [
    "is a variable that is not set",
    0o600,
    "hunter2",
    "secret: { env: COUNTERSIGN_TEST_UNSET }",
    /variable "COUNTERSIGN_TEST_UNSET": it is not set/,
  ],
];

for (const [what, mode, content, client, why] of unreadable) {
  // On Windows files have no mode.
  const skip = process.platform === "win32" && mode !== 0o600;
  test(`loadConfig() refuses a secret that ${what}, and does not show it`, { skip }, () =>
    withFiles({ mode, content, client }, async ({ config }) => {
      await assert.rejects(loadConfig(config), (error: Error & { readonly code?: string }) => {
        assert.equal(error.code, "CONFIG_INVALID");
        assert.match(error.message, why);
        assert.doesNotMatch(error.message, /hunter2/);
        return true;
      });
    }),
  );
}

test("loadConfig() checks a secret's mode each time it is read", { skip: process.platform === "win32" }, () =>
  withFiles({ mode: 0o600, content: "s", client: fromFile }, async (files) => {
    const secret = (await loadConfig(files.config)).issuers[0]?.client?.secret;
    chmodSync(files.secret, 0o604);
    assert.throws(() => secret?.(), { code: "CONFIG_INVALID" });
  }),
);

test("loadConfig() uses no key that is none, and does not quote it", () =>
  withFiles({ mode: 0o600, content: "hunter2", client: "key: { file: secret }" }, async (files) => {
    const key = (await loadConfig(files.config)).issuers[0]?.client?.key;
    assert.throws(() => key?.(), /expected a private key in PEM/);
  }));

test("loadConfig() says which file it cannot read, and refuses one that is too large", async () => {
  await assert.rejects(loadConfig("/nowhere/countersign.yaml"), {
    code: "CONFIG_INVALID",
    message: /"\/nowhere\/countersign\.yaml": there is no such file or folder/,
  });
  await withFiles({ mode: 0o600, content: "s", client: fromFile }, async ({ config }) => {
    writeFileSync(config, "#".repeat(1_048_577));
    await assert.rejects(loadConfig(config), { code: "CONFIG_INVALID", message: /more than 1048576 bytes/ });
  });
});

test("parseConfig() reports nesting that no configuration has, rather than to overflow", () => {
  const parsed = parseConfig("[".repeat(100_000), { file: "c.yaml", env: {} });
  assert.equal(parsed.ok, false);
});

test("parseConfig() answers whatever text it is given, and points into it", () => {
  const lines = example(fromFile).split("\n");
  const mutant = fc
    .tuple(fc.nat(lines.length - 1), fc.nat(60), fc.string({ unit: "grapheme", maxLength: 6 }))
    .map(([line, at, noise]) =>
      lines.map((text, i) => (i === line ? text.slice(0, at) + noise + text.slice(at + 2) : text)).join("\n"),
    );
  fc.assert(
    fc.property(mutant, (text) => {
      const parsed = parseConfig(text, { file: "c.yaml", env: {} });
      if (parsed.ok) return;
      assert.ok(parsed.mistakes.length > 0 && parsed.mistakes.length <= 100);
      for (const { line, column, text: what } of parsed.mistakes) {
        assert.ok(line >= 1 && line <= text.split("\n").length && column >= 1);
        assert.doesNotMatch(what, /\n|Invalid input/);
      }
    }),
    { numRuns: 500 },
  );
});
