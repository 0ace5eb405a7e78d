import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { Command, CommanderError } from "commander";
import { GatewayError } from "../errors.ts";
import { starterPolicy } from "./init-starters.ts";
import { EXIT, type ExitCode } from "./io.ts";
import { policyCommand } from "./policy.ts";

const NOW = 1_790_000_000;
const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const DEVSTACK = "devstack/policy.yaml";

interface Ran {
  readonly out: string;
  readonly err: string;
  readonly code: ExitCode;
}

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "countersign-cli-policy-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function write(name: string, text: string): void {
  mkdirSync(dirname(join(folder, name)), { recursive: true });
  writeFileSync(join(folder, name), text);
}

async function run(
  args: readonly string[],
  {
    cwd = ROOT,
    env = {},
    colours = false,
  }: { cwd?: string; env?: Record<string, string>; colours?: boolean } = {},
): Promise<Ran> {
  const said = { out: "", err: "", code: EXIT.yes as ExitCode };
  const out = (text: string): void => {
    said.out += text;
  };
  const err = (text: string): void => {
    said.err += text;
  };
  const program = new Command("countersign");
  const settle = (command: Command): void => {
    command.exitOverride().configureOutput({
      writeOut: out,
      writeErr: err,
      getOutHelpWidth: () => 80,
    });
    for (const child of command.commands) settle(child);
  };
  const command = policyCommand({
    out,
    err,
    stdin: () => assert.fail("nothing is read from standard input"),
    terminal: false,
    colours,
    env,
    cwd,
    clock: () => NOW,
    exit: (code) => {
      said.code = code;
    },
    onHangup: () => {},
    signal: new AbortController().signal,
  });
  program.addCommand(command);
  settle(program);
  try {
    await program.parseAsync(["policy", ...args], { from: "user" });
  } catch (error) {
    if (error instanceof CommanderError)
      return { ...said, code: error.exitCode === 0 ? EXIT.yes : EXIT.usage };
    // As main.ts reports it.
    if (error instanceof GatewayError) return { ...said, err: `${error.message}\n`, code: EXIT.usage };
    throw error;
  }
  return said;
}

function golden(t: TestContext, name: string, { out, err, code }: Ran): void {
  const text = `${out}${err === "" ? "" : `---------- standard error\n${err}`}---------- exit ${code}\n`;
  t.assert.fileSnapshot(text, join(import.meta.dirname, "golden", `policy-${name}.txt`), {
    serializers: [(value) => value],
  });
}

const GOLDENS: Readonly<Record<string, readonly string[]>> = {
  help: ["--help"],
  "check-help": ["check", "--help"],
  "test-help": ["test", "--help"],
  "explain-help": ["explain", "--help"],
  "grants-help": ["grants", "--help"],
  check: ["check", DEVSTACK],
  "check-json": ["check", DEVSTACK, "--json"],
  test: ["test", DEVSTACK],
  "explain-allowed": ["explain", "--policy", DEVSTACK, "--as", "alice", "publish", "orders.eu.1.create"],
  "explain-region": ["explain", "--policy", DEVSTACK, "--as", "bob", "publish", "orders.eu.1.create"],
  "explain-group": ["explain", "--policy", DEVSTACK, "--as", "carol", "publish", "orders.eu.1.create"],
  "explain-never": ["explain", "--policy", DEVSTACK, "--as", "alice", "publish", "payments.eu.1.void"],
  "explain-wildcard": ["explain", "--policy", DEVSTACK, "--as", "alice", "subscribe", "orders.>"],
  "explain-none": ["explain", "--policy", DEVSTACK, "--as", "carol", "connect", "mqtt"],
  "explain-json": ["explain", "--policy", DEVSTACK, "--as", "bob", "--json", "publish", "orders.eu.1.create"],
  "explain-nobody": ["explain", "--policy", DEVSTACK, "--as", "carl", "publish", "a"],
  "explain-no-action": ["explain", "--policy", DEVSTACK, "--as", "carol", "pubish", "a"],
  "diff-help": ["diff", "--help"],
  "diff-same": ["diff", DEVSTACK, DEVSTACK],
  "schema-help": ["schema", "--help"],
  schema: ["schema"],
  "who-can-help": ["who-can", "--help"],
  "who-can": ["who-can", "--policy", DEVSTACK, "subscribe", "orders.eu.>"],
  "who-can-nobody": ["who-can", "--policy", DEVSTACK, "publish", "payments.eu.1.void"],
  grants: ["grants", "--policy", DEVSTACK, "--as", "carol"],
};

for (const [name, args] of Object.entries(GOLDENS)) {
  test(`countersign policy ${args.join(" ")}`, async (t) => golden(t, name, await run(args)));
}

const WRONG = `version: 1
rolse: {}
roles:
  clerk:
    given-to: [ { issuer: demo, groups: 007 } ]
    may:
      - pubilsh orders.>
      - subscribe >
      - publish orders.x{region}.y
`;

test("countersign policy check prints every mistake with its place and exits with 1", async (t) => {
  write("policy.yaml", WRONG);
  golden(t, "check-wrong", await run(["check", "policy.yaml"], { cwd: folder }));
  golden(t, "check-wrong-json", await run(["check", "policy.yaml", "--json"], { cwd: folder }));
  const coloured = await run(["check", "policy.yaml"], { cwd: folder, colours: true });
  assert(coloured.out.startsWith("\u001b[31mmistake\u001b[39m  policy.yaml:2:1: "));
});

test("countersign policy check prints warnings and exits with 0", async (t) => {
  write("policy.yaml", "version: 1\nroles: { r: { given-to: [], may: [ read-audit ] } }\n");
  golden(t, "check-warning", await run(["check", "policy.yaml"], { cwd: folder }));
});

test("countersign policy diff marks what is wider and exits with 3, or with 0 when nothing is", async (t) => {
  const role = (may: string, credential = "10m"): string =>
    `version: 1\nroles: { r: { given-to: [ { issuer: demo } ], may: [ ${may} ], limits: { credential: ${credential} } } }\n`;
  write("old.yaml", role("'publish a.{region}', subscribe b"));
  write("new.yaml", role("publish a.*", "90s"));
  golden(t, "diff-wider", await run(["diff", "old.yaml", "new.yaml"], { cwd: folder }));
  golden(t, "diff-json", await run(["diff", "old.yaml", "new.yaml", "--json"], { cwd: folder }));
  write("new.yaml", role("subscribe b"));
  golden(t, "diff-narrower", await run(["diff", "old.yaml", "new.yaml"], { cwd: folder }));
});

test("countersign policy test says which test failed and why", async (t) => {
  write(
    "policy.yaml",
    `version: 1
roles:
  r: { given-to: [ { issuer: demo } ], may: [ publish a.> ], never: [ publish a.b ] }
identities: { ann: { issuer: demo, user: ann } }
tests:
  - as: ann
    allowed: [ publish a.b, publish b, publish a.c ]
    refused: [ publish a.d ]
`,
  );
  golden(t, "test-failed", await run(["test", "policy.yaml"], { cwd: folder }));
  write("policy.yaml", "version: 1\n");
  assert.deepEqual(await run(["test", "policy.yaml"], { cwd: folder }), {
    out: "failed  the policy has no tests\n",
    err: "",
    code: EXIT.no,
  });
});

test("countersign policy finds its policy by --policy, then the environment, then the configuration", async () => {
  const policy = (name: string): string => `version: 1\nidentities: { ${name}: { issuer: demo, user: x } }\n`;
  for (const name of ["flag", "env", "config", "here", "state"]) write(`${name}.yaml`, policy(name));
  write("sub/config.yaml", "policy: ../config.yaml\n");
  write(".state/countersign.yaml", "policy: ../state.yaml\n");
  const found = async (
    args: readonly string[],
    env: Record<string, string> = {},
  ): Promise<string | undefined> => {
    const { err } = await run(["explain", ...args, "--as", "nobody", "read-audit"], { cwd: folder, env });
    return /there are (\w+)/.exec(err)?.[1];
  };
  const env = { COUNTERSIGN_POLICY: "env.yaml" };
  assert.equal(await found(["--policy", "flag.yaml"], env), "flag");
  assert.equal(await found([], env), "env");
  assert.equal(await found(["--config", "sub/config.yaml"]), "config");
  assert.equal(await found([], { COUNTERSIGN_CONFIG: "sub/config.yaml" }), "config");
  assert.equal(await found([]), "state");
  write("countersign.yaml", "policy: here.yaml\n");
  assert.equal(await found([]), "here");
});

test("countersign policy says where it looked when it finds none, and exits with 2", async () => {
  const nothing = await run(["check"], { cwd: folder });
  assert.equal(nothing.code, EXIT.usage);
  assert.match(
    nothing.err,
    /^Cannot find the policy: nothing names one\. The policy is --policy, else COUNTERSIGN_POLICY/,
  );
  const gone = await run(["check", "--config", "gone.yaml"], { cwd: folder });
  assert.match(gone.err, /^Cannot read the configuration ".*gone\.yaml": there is no such file or folder/);
  write("large.yaml", `policy: x\n${"#".repeat(1024 * 1024)}`);
  assert.match(
    (await run(["check", "--config", "large.yaml"], { cwd: folder })).err,
    /at most 1048576 are read/,
  );
  write("countersign.yaml", "policies: x\n");
  assert.match((await run(["check"], { cwd: folder })).err, /has no "policy: PATH"/);
  assert.equal((await run(["check", "gone.yaml"], { cwd: folder })).code, EXIT.usage);
  assert.equal((await run(["explain", "--policy", join(ROOT, DEVSTACK), "read-audit"])).code, EXIT.usage);
});

test("countersign policy answers nothing from a policy with mistakes", async () => {
  write("policy.yaml", WRONG);
  const answer = await run(["grants", "--policy", "policy.yaml", "--as", "ann"], { cwd: folder });
  assert.deepEqual([answer.out, answer.code], ["", EXIT.usage]);
  assert.match(answer.err, /^policy\.yaml:2:1: "rolse" is not a key of a policy/);
});

test("the policy that countersign init writes is right, and passes its own tests", async () => {
  write("policy.yaml", starterPolicy());
  assert.match((await run(["check", "policy.yaml"], { cwd: folder })).out, /^right {4}1 role, 3 tests/);
  assert.equal((await run(["test", "policy.yaml"], { cwd: folder })).code, EXIT.yes);
});
