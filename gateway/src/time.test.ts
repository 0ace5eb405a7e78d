import assert from "node:assert/strict";
import { test } from "node:test";
import { isoTimeOf, parseDurationMs } from "./time.ts";

test("isoTimeOf() writes what Date writes, whatever it wrote before", () => {
  const times = [
    0, 0.0005, 1_795_000_000.999, 1_795_000_000.001, 1_795_000_001, 1_795_000_000.5, -1.5, 253_402_300_799,
  ];
  for (const at of times)
    assert.equal(isoTimeOf(at), new Date(Math.floor(at * 1000)).toISOString(), String(at));
});

test("parseDurationMs() reads whole numbers with a unit, and nothing else", () => {
  assert.deepEqual(
    ["250ms", "2s", "10m", "1h", "30d"].map(parseDurationMs),
    [250, 2_000, 600_000, 3_600_000, 2_592_000_000],
  );
  for (const text of ["", "2", "s", "-1s", "1.5s", "1 s", "2S", "9999999999s", "1s1s"]) {
    assert.equal(parseDurationMs(text), undefined, text);
  }
});
