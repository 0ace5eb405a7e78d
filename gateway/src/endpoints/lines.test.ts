import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type Line, LineReader } from "./lines.ts";

function readAll(chunks: readonly string[], bytesMax = 1_000): readonly (string | undefined)[] {
  const reader = new LineReader(bytesMax);
  const lines: Line[] = [];
  for (const chunk of chunks) lines.push(...reader.push(Buffer.from(chunk)));
  lines.push(...reader.end());
  return lines.map((line) => line && Buffer.from(line).toString());
}

test("LineReader takes LF and CRLF, passes over empty lines, and takes a last one without an end", () => {
  assert.deepEqual(readAll(["a\nb\r\n\n\r\nc"]), ["a", "b", "c"]);
  assert.deepEqual(readAll([]), []);
  assert.deepEqual(readAll(["\n\n"]), []);
});

test("LineReader gives the same lines however the bytes are divided", () => {
  const line = fc.string({ unit: fc.constantFrom("a", "b", "\r", " "), maxLength: 6 });
  fc.assert(
    fc.property(
      fc.array(line, { maxLength: 8 }),
      fc.infiniteStream(fc.integer({ min: 1, max: 5 })),
      (lines, sizes) => {
        const text = lines.join("\n");
        const chunks: string[] = [];
        for (let at = 0; at < text.length; ) {
          const size = sizes.next().value ?? 1;
          chunks.push(text.slice(at, at + size));
          at += size;
        }
        assert.deepEqual(readAll(chunks, 5), readAll([text], 5));
      },
    ),
  );
});

test("LineReader lets go of a line that is too long, and reads on after it", () => {
  assert.deepEqual(readAll(["a\n", "b".repeat(8), "b".repeat(8), "\nc\n"], 10), ["a", undefined, "c"]);
  assert.deepEqual(readAll(["1234567890\n12345678901\n"], 10), ["1234567890", undefined]);
  assert.deepEqual(readAll(["x".repeat(11)], 10), [undefined]);
});
