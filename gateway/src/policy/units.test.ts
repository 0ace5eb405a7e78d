import assert from "node:assert/strict";
import { test } from "node:test";
import {
  formatDuration,
  formatSize,
  parseDurationSeconds,
  parseRatePerSecond,
  parseSizeBytes,
  parseUntil,
} from "./units.ts";

test("formatDuration() and formatSize() write what is read as the same again, in the largest unit that fits", () => {
  for (const text of ["250ms", "1500ms", "90s", "10m", "24h"])
    assert.equal(formatDuration(parseDurationSeconds(text) ?? 0), text);
  for (const text of ["1B", "1025B", "64KiB", "8MiB"])
    assert.equal(formatSize(parseSizeBytes(text) ?? 0), text);
  assert.deepEqual([formatDuration(3_600), formatSize(65_536)], ["1h", "64KiB"]);
});

test("parseDurationSeconds(), parseSizeBytes() and parseRatePerSecond() read what has its unit, and nothing else", () => {
  assert.deepEqual(["250ms", "2s", "10m", "1h"].map(parseDurationSeconds), [0.25, 2, 600, 3600]);
  assert.deepEqual(["512B", "64KiB", "1MiB"].map(parseSizeBytes), [512, 65_536, 1_048_576]);
  assert.equal(parseRatePerSecond("50/s"), 50);
  for (const text of ["", "10", "1d", "-1s", "1.5h", "1 s", "1e3s", "9999999999s"]) {
    assert.equal(parseDurationSeconds(text), undefined, text);
  }
  for (const text of ["", "64", "64KB", "64kib", "-1B", "0x1B"])
    assert.equal(parseSizeBytes(text), undefined, text);
  for (const text of ["", "50", "50/m", "/s", "5 /s"])
    assert.equal(parseRatePerSecond(text), undefined, text);
});

test("parseUntil() lets a date be good on that day, and a moment until that moment", () => {
  assert.equal(parseUntil("2026-12-31"), Date.parse("2027-01-01T00:00:00Z") / 1000);
  assert.equal(parseUntil("2026-12-31T18:00:00+01:00"), Date.parse("2026-12-31T17:00:00Z") / 1000);
});

test("parseUntil() refuses days that do not exist and times that do not say where", () => {
  for (const text of [
    "2026-02-30",
    "2026-13-01",
    "2026-12-31T18:00:00",
    "31.12.2026",
    "2026-12-31T25:00:00Z",
    "",
  ]) {
    assert.equal(parseUntil(text), undefined, text);
  }
});
