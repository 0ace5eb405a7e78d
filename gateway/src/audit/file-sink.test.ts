import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { type TestContext, test } from "node:test";
import { createFileSink } from "./file-sink.ts";
import type { Sink } from "./sink.ts";

const MIB = 1_048_576;
const notOnWindows = process.platform === "win32" && "files have no mode there";

function folderOf(t: TestContext): { readonly folder: string; readonly path: string } {
  const folder = mkdtempSync(join(tmpdir(), "countersign-audit-"));
  t.after(() => rmSync(folder, { recursive: true }));
  return { folder, path: join(folder, "audit.jsonl") };
}

function sinkOf(
  t: TestContext,
  options: {
    readonly path: string;
    readonly rotateBytes?: number;
    readonly keep?: number;
    readonly faults?: string[];
  },
): Sink {
  const { path, rotateBytes = MIB, keep = 3, faults } = options;
  const onFault = (why: string) => (faults ? faults.push(why) : assert.fail(why));
  const sink = createFileSink({ path, rotateBytes, keep, onFault });
  t.after(() => sink.close());
  return sink;
}

/** Appends, and asserts that nothing is left to wait for. */
function appendNow(sink: Sink | undefined, lines: readonly string[]): void {
  assert.equal(sink?.append(lines, false), undefined);
}

/** As a reader reads: what is no JSON is a torn line and skipped. */
function linesOf(path: string): unknown[] {
  return readFileSync(path, "utf8")
    .split("\n")
    .flatMap((line) => {
      try {
        return [JSON.parse(line)];
      } catch {
        return [];
      }
    });
}

test("createFileSink() has written when append() returns, and creates the file for its owner only", {
  skip: notOnWindows,
}, (t) => {
  const { path } = folderOf(t);
  const sink = sinkOf(t, { path });
  assert.equal(sink.append(["1", "2"], false), undefined);
  assert.equal(sink.append(["3"], false), undefined);
  assert.equal(readFileSync(path, "utf8"), "1\n2\n3\n");
  assert.equal(statSync(path).mode & 0o777, 0o600);
});

test("createFileSink() waits for fsync only when durable", async (t) => {
  const { path } = folderOf(t);
  const synced = sinkOf(t, { path }).append(["1"], true);
  assert.ok(synced instanceof Promise);
  await synced;
  assert.deepEqual(linesOf(path), [1]);
});

test("createFileSink() refuses durability after five seconds on a disk that does not answer", async (t) => {
  const { path } = folderOf(t);
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const disk = Promise.withResolvers<void>();
  const sink = createFileSink({
    path,
    rotateBytes: MIB,
    keep: 1,
    onFault: assert.fail,
    fsync: () => disk.promise,
  });
  const synced = assert.rejects(Promise.resolve(sink.append(["1"], true)), /more than five seconds/);
  t.mock.timers.tick(5_000);
  await synced;
  disk.resolve();
  await sink.close();
});

test("createFileSink() ends a line that a crash tore, so that the next one is whole", (t) => {
  const { path } = folderOf(t);
  writeFileSync(path, '1\n{"torn":"li');
  appendNow(sinkOf(t, { path }), ["2"]);
  assert.equal(readFileSync(path, "utf8"), '1\n{"torn":"li\n2\n');
  assert.deepEqual(linesOf(path), [1, 2]);
});

test("createFileSink() starts a new file before one exceeds the bound, keeps as many as told, and loses no line between", (t) => {
  const { folder, path } = folderOf(t);
  const sink = sinkOf(t, { path, rotateBytes: 100, keep: 2 });
  for (let i = 100; i < 200; i += 1) appendNow(sink, [String(i), String(i)]);
  const names = readdirSync(folder).sort();
  assert.equal(names.length, 3);
  assert.deepEqual(
    names.map((name) => name.replace(/-[0-9a-f]{8}$/, "-random")),
    ["audit.jsonl", "audit.jsonl.000007-random", "audit.jsonl.000008-random"],
  );
  const rotated = names.slice(1).flatMap((name) => linesOf(join(folder, name)));
  for (const name of names) assert.ok(statSync(join(folder, name)).size <= 100);
  const kept = [...rotated, ...linesOf(path)];
  assert.deepEqual(
    kept,
    Array.from({ length: kept.length }, (_, i) => 200 - kept.length / 2 + Math.floor(i / 2)),
  );
});

test("createFileSink() takes a line larger than the bound rather than to refuse it", (t) => {
  const { path } = folderOf(t);
  const sink = sinkOf(t, { path, rotateBytes: 10 });
  appendNow(sink, [JSON.stringify("x".repeat(100))]);
  assert.equal(linesOf(path).length, 1);
});

test("createFileSink() follows a rename by somebody else within a second, and loses nothing until then", async (t) => {
  const { folder, path } = folderOf(t);
  t.mock.timers.enable({ apis: ["setInterval"] });
  const sink = sinkOf(t, { path });
  appendNow(sink, ["1"]);
  renameSync(path, join(folder, "taken"));
  appendNow(sink, ["2"]);
  t.mock.timers.tick(1_000);
  appendNow(sink, ["3"]);
  assert.deepEqual(linesOf(join(folder, "taken")), [1, 2]);
  assert.deepEqual(linesOf(path), [3]);
});

test("createFileSink() does not rotate too early after somebody else truncated the file", (t) => {
  const { folder, path } = folderOf(t);
  t.mock.timers.enable({ apis: ["setInterval"] });
  const sink = sinkOf(t, { path, rotateBytes: 100 });
  appendNow(sink, ["1".repeat(80)]);
  truncateSync(path);
  t.mock.timers.tick(1_000);
  appendNow(sink, ["2".repeat(80)]);
  assert.deepEqual(readdirSync(folder), ["audit.jsonl"]);
});

test("createFileSink() lets two instances write and rotate one file without losing a line of either", (t) => {
  const { folder, path } = folderOf(t);
  const sinks = [
    sinkOf(t, { path, rotateBytes: 200, keep: 1_000 }),
    sinkOf(t, { path, rotateBytes: 200, keep: 1_000 }),
  ];
  for (let i = 0; i < 500; i += 1) appendNow(sinks[i % 2], [String(i)]);
  const all = readdirSync(folder).flatMap((name) => linesOf(join(folder, name)));
  assert.deepEqual(
    all.sort((a, b) => Number(a) - Number(b)),
    Array.from({ length: 500 }, (_, i) => i),
  );
});

test("createFileSink() finishes the fsync of a file that was rotated away meanwhile", async (t) => {
  const { path } = folderOf(t);
  const sink = sinkOf(t, { path, rotateBytes: 10, keep: 1_000 });
  const synced = Array.from({ length: 50 }, () => sink.append(["12345678"], true));
  await Promise.all(synced);
});

test("createFileSink() goes on in the old file when it cannot rotate, and says so", (t) => {
  const { folder, path } = folderOf(t);
  const faults: string[] = [];
  const sink = sinkOf(t, { path, rotateBytes: 10, faults });
  appendNow(sink, ["12345678"]);
  // A folder in the file's place: neither renamed as if it were ours, nor opened.
  renameSync(path, join(folder, "taken"));
  mkdirSync(path);
  appendNow(sink, ["2"]);
  assert.deepEqual(linesOf(join(folder, "taken")), [12_345_678, 2]);
  assert.equal(faults.length, 1);
});

test("createFileSink() throws when the disk takes nothing", { skip: process.platform !== "linux" }, () => {
  const sink = createFileSink({ path: "/dev/full", rotateBytes: MIB, keep: 1, onFault: assert.fail });
  assert.throws(() => sink.append(["1"], false), { code: "ENOSPC" });
});

test("createFileSink() refuses a path it cannot open", (t) => {
  const { folder } = folderOf(t);
  const path = join(folder, "missing", "audit.jsonl");
  assert.throws(() => createFileSink({ path, rotateBytes: MIB, keep: 1, onFault: assert.fail }), {
    code: "AUDIT_UNWRITABLE",
  });
});

/** Records as fast as it can, says on standard output which records were fulfilled, until it is killed. */
const VICTIM = `
  import { createAuditLog } from ${JSON.stringify(new URL("./log.ts", import.meta.url).href)};
  import { createFileSink } from ${JSON.stringify(new URL("./file-sink.ts", import.meta.url).href)};
  import { writeSync } from "node:fs";
  const sink = createFileSink({ path: process.argv[1], rotateBytes: 50_000, keep: 10_000, onFault() {} });
  const log = createAuditLog({ sinks: [sink], onFault() {} });
  let n = 0;
  async function worker() {
    for (;;) {
      const txn = String(n++);
      await log.record({ kind: "decision", at: "", txn, requestId: "", instance: "", lane: "http", action: "", outcome: "allowed" });
      writeSync(1, txn + "\\n");
    }
  }
  for (let i = 0; i < 20; i += 1) worker();
`;

test("createFileSink() holds every acknowledged record of a process that was killed with SIGKILL", async (t) => {
  const { folder, path } = folderOf(t);
  const victim = spawn(process.execPath, ["--input-type=module-typescript", "--eval", VICTIM, path], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  t.after(() => victim.kill("SIGKILL"));
  const acknowledged: string[] = [];
  for await (const txn of createInterface({ input: victim.stdout })) {
    acknowledged.push(txn);
    if (acknowledged.length === 2_000) victim.kill("SIGKILL");
  }
  if (victim.signalCode === null) await once(victim, "exit");
  assert.equal(victim.signalCode, "SIGKILL");
  // The killed process may have torn a line; whoever starts next appends to the same file.
  appendFileSync(path, '{"torn');
  appendNow(sinkOf(t, { path }), ['{"txn":"next"}']);
  const records = readdirSync(folder).flatMap((name) => linesOf(join(folder, name)));
  const recorded = new Set(records.map((record) => (record as { readonly txn: string }).txn));
  assert.ok(readdirSync(folder).length > 1, "the test is to cross a rotation");
  assert.deepEqual(
    acknowledged.filter((txn) => !recorded.has(txn)),
    [],
  );
  assert.ok(recorded.has("next"));
});
