import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { GatewayError } from "../errors.ts";
import { loadPolicyFiles } from "./load.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "countersign-policy-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function write(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

function refuses(path: string, why: RegExp): void {
  assert.throws(
    () => loadPolicyFiles(path),
    (error) => error instanceof GatewayError && why.test(error.message),
  );
}

test("loadPolicyFiles() reads a file, or the YAML files of a folder in order", () => {
  const b = write("b.yml", "b");
  const a = write("a.yaml", "\ufeffa");
  write("notes.txt", "");
  write(".hidden.yaml", "");
  assert.deepEqual(loadPolicyFiles(a), [{ path: a, text: "\ufeffa" }]);
  assert.deepEqual(
    loadPolicyFiles(folder).map(({ path }) => path),
    [a, b],
  );
});

test("loadPolicyFiles() says what it cannot read, and why", () => {
  refuses(
    join(folder, "none.yaml"),
    /Cannot read the policy ".*none\.yaml": there is no such file or folder$/,
  );
  refuses(folder, /the folder has no \*\.yaml file/);
  refuses(write("latin1.yaml", Uint8Array.of(0xe9)), /it is not UTF-8/);
  refuses(write("large.yaml", "#".repeat(1024 * 1024 + 1)), /it has 1048577 bytes; at most 1048576 are read/);
  mkdirSync(join(folder, "x.yaml"));
  refuses(folder, /it is not a file|it has 1048577 bytes/);
});

test("loadPolicyFiles() reads at most a hundred files of a folder", () => {
  for (let number = 0; number <= 100; number++) write(`${number}.yaml`, "");
  refuses(folder, /the folder has 101 files; at most 100 are read/);
});
