import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { test } from "node:test";
import { createStdoutSink } from "./stdout-sink.ts";

/** A pipe that takes so many bytes until it is drained, and EAGAIN beyond. */
function createPipe(capacity: number) {
  let room = capacity;
  let text = "";
  let broken = false;
  return {
    write(_fd: number, bytes: Buffer): number {
      if (broken) throw Object.assign(new Error("broken pipe"), { code: "EPIPE" });
      if (room === 0) throw Object.assign(new Error("try again"), { code: "EAGAIN" });
      const taken = bytes.subarray(0, room);
      room -= taken.length;
      text += taken.toString("latin1");
      return taken.length;
    },
    drain: (bytes: number) => {
      room = bytes;
    },
    break: () => {
      broken = true;
    },
    mend: () => {
      broken = false;
    },
    text: () => text,
  };
}

test("createStdoutSink() has written when append() returns", () => {
  const pipe = createPipe(100);
  const sink = createStdoutSink({ write: pipe.write });
  assert.equal(sink.append(["1", "2"], false), undefined);
  assert.equal(pipe.text(), "1\n2\n");
});

test("createStdoutSink() waits for a full pipe and keeps the order", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const pipe = createPipe(3);
  const sink = createStdoutSink({ write: pipe.write });
  const first = sink.append(["12345"], false);
  const second = sink.append(["67890"], false);
  assert.ok(first instanceof Promise && second instanceof Promise);
  assert.equal(pipe.text(), "123");
  pipe.drain(4);
  t.mock.timers.tick(5);
  await first;
  pipe.drain(100);
  t.mock.timers.tick(5);
  await second;
  assert.equal(sink.append(["x"], false), undefined);
  assert.equal(pipe.text(), "12345\n67890\nx\n");
});

test("createStdoutSink() gives up after five seconds, refuses all that wait, and begins anew on a new line", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const pipe = createPipe(3);
  const sink = createStdoutSink({ write: pipe.write });
  const outcomes = Promise.allSettled([sink.append(["12345"], false), sink.append(["67890"], false)]);
  for (let attempt = 0; attempt < 1_000; attempt += 1) t.mock.timers.tick(5);
  assert.deepEqual(
    (await outcomes).map(({ status }) => status),
    ["rejected", "rejected"],
  );
  pipe.drain(100);
  assert.equal(sink.append(["x"], false), undefined);
  assert.equal(pipe.text(), "123\nx\n");
});

test("createStdoutSink() refuses at once what would make the queue too large", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const pipe = createPipe(0);
  const sink = createStdoutSink({ write: pipe.write });
  const megabyte = "x".repeat(1_048_576 - 1);
  for (let i = 0; i < 8; i += 1) sink.append([megabyte], false)?.catch(() => {});
  assert.throws(() => sink.append(["x"], false), /queue is full/);
});

test("createStdoutSink() throws when the reader is gone", () => {
  const pipe = createPipe(100);
  pipe.break();
  const sink = createStdoutSink({ write: pipe.write });
  assert.throws(() => sink.append(["1"], false), { code: "EPIPE" });
});

test("createStdoutSink() begins a new line after a write that broke off", () => {
  let calls = 0;
  let text = "";
  const write = (_fd: number, bytes: Buffer): number => {
    calls += 1;
    if (calls === 2) throw Object.assign(new Error("no space"), { code: "ENOSPC" });
    const taken = bytes.subarray(0, calls === 1 ? 2 : undefined);
    text += taken.toString("latin1");
    return taken.length;
  };
  const sink = createStdoutSink({ write });
  assert.throws(() => sink.append(["12345"], false), { code: "ENOSPC" });
  assert.equal(sink.append(["x"], false), undefined);
  assert.equal(text, "12\nx\n");
});

test("createStdoutSink() writes a real, slow, non-blocking pipe to the last byte", async () => {
  // Touching process.stdout of a pipe makes it non-blocking in the child; the parent reads late.
  const source = `
    import { createStdoutSink } from ${JSON.stringify(new URL("./stdout-sink.ts", import.meta.url).href)};
    process.stdout._handle?.setBlocking?.(false);
    const sink = createStdoutSink();
    const lines = Array.from({ length: 1000 }, (_, i) => String(i).padStart(1000, "0"));
    await Promise.all(Array.from({ length: 4 }, () => sink.append(lines, false)));
    await sink.close();
  `;
  const child = spawn(process.execPath, ["--input-type=module-typescript", "--eval", source], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let text = "";
  for await (const chunk of child.stdout.setEncoding("latin1")) text += chunk;
  const once = Array.from({ length: 1_000 }, (_, i) => `${String(i).padStart(1_000, "0")}\n`).join("");
  assert.equal(text, once.repeat(4));
});
