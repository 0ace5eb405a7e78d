import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { createLog } from "./log.ts";

const folder = mkdtempSync(join(tmpdir(), "countersign-log-"));
after(() => rmSync(folder, { recursive: true, force: true }));

function messages(file: string): readonly string[] {
  const lines = readFileSync(file, "utf8").split("\n").filter(Boolean);
  return lines.map((line) => (JSON.parse(line) as { msg: string }).msg);
}

test("createLog() adds to a file that only its owner reads, in a folder that it makes", () => {
  const file = join(folder, "new", "gateway.log");
  createLog("info", file).info("first");
  const log = createLog("warn", file);
  log.info("not this one");
  log.warn("second");
  assert.deepEqual(messages(file), ["first", "second"]);
  if (process.platform !== "win32") assert.equal(statSync(file).mode & 0o777, 0o600);
});

test("createLog() keeps the full file beside a new one, and no third", () => {
  const file = join(folder, "full.log");
  for (const round of ["first", "second"]) {
    writeFileSync(file, "x".repeat(10 * 1_048_576));
    createLog("info", file).info(round);
    assert.deepEqual(messages(file), [round]);
    assert.equal(statSync(`${file}.1`).size, 10 * 1_048_576);
  }
  assert.equal(existsSync(`${file}.2`), false);
});

test("createLog() says where it cannot write, and ends nothing when that comes later", () => {
  assert.throws(() => createLog("info", folder), {
    code: "CONFIG_INVALID",
    message: new RegExp(`^Cannot write the log to ${folder}: `),
  });
  const file = join(folder, "gone", "gateway.log");
  const log = createLog("info", file);
  rmSync(join(folder, "gone"), { recursive: true });
  log.info("to nobody");
});
