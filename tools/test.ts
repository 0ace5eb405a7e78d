// npm test: the whole suite, or the files and options given: npm test -- seal/src/verify.test.ts
// npm run test:long: generated tests with many more cases.
import { spawn } from "node:child_process";
import { existsSync, globSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { findNatsServer } from "@countersign/devstack/nats-server.ts";

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const PARTS = "{seal,gateway,devstack,test,examples,tools,bench}";
/** Two cores are what the smallest machine of ours has; each file is a process with servers of its own. */
const CONCURRENCY = 2;

/** Generated cases with --long: an hour's worth of luck in some minutes. */
const LONG: Readonly<Record<string, string>> = { LAW_CASES: "10000" };

const long = process.argv.includes("--long");
/** A test that hangs fails; none takes a tenth of this. */
const TEST_TIMEOUT_MS = long ? 3_600_000 : 300_000;

const given = process.argv.slice(2).filter((argument) => argument !== "--long");
const options = given.filter((argument) => argument.startsWith("-"));
const named = given.filter((argument) => !argument.startsWith("-"));
const files =
  named.length > 0
    ? named
    : globSync(`${PARTS}/**/*.test.ts`, { cwd: ROOT, exclude: ["**/node_modules/**"] }).sort();

const missing = files.filter((file) => !existsSync(join(named.length > 0 ? process.cwd() : ROOT, file)));
if (files.length === 0 || missing.length > 0) {
  console.error(missing.length > 0 ? `No such test file: ${missing.join(", ")}` : `No tests in ${ROOT}`);
  process.exit(1);
}

const natsServer = await findNatsServer({ progress: console.error }).catch((error: Error) => {
  console.error(error.message);
  process.exit(1);
});

const runner = spawn(
  process.execPath,
  [
    "--test",
    `--test-concurrency=${CONCURRENCY}`,
    `--test-timeout=${TEST_TIMEOUT_MS}`,
    "--test-reporter=spec",
    "--test-reporter-destination=stdout",
    `--test-reporter=${new URL("skipped-reporter.ts", import.meta.url)}`,
    "--test-reporter-destination=stderr",
    ...options,
    ...files,
  ],
  {
    cwd: named.length > 0 ? process.cwd() : ROOT,
    stdio: "inherit",
    env: { ...(long && LONG), ...process.env, COUNTERSIGN_NATS_SERVER: natsServer },
  },
);
// Ctrl-C reaches the runner by itself; it ends its tests, and we wait for that.
process.on("SIGINT", () => {});
runner.on("close", (code) => {
  process.exitCode = code ?? 1;
});
