import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { readLog } from "countersign/iis/log-files.ts";

const runFile = promisify(execFile);

const LINES = 500_000;
/** The line that is searched: late, so that all before it is read. */
const WANTED = LINES - 10;
const HEAD = `#Software: Microsoft Internet Information Services 10.0\r
#Version: 1.0\r
#Date: 2026-11-26 00:00:00\r
#Fields: date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs(User-Agent) cs(Referer) sc-status sc-substatus sc-win32-status time-taken X-Request-Id\r
`;
const AGENT =
  "Mozilla/5.0+(Windows+NT+10.0;+Win64;+x64)+AppleWebKit/537.36+(KHTML,+like+Gecko)+Chrome/130.0.0.0+Safari/537.36";
/** The same columns in GoAccess's words. */
const GOACCESS = [
  "--log-format=%d %t %^ %m %U %q %^ %e %h %u %R %s %^ %^ %L %^",
  "--date-format=%Y-%m-%d",
  "--time-format=%T",
  "--no-progress",
  "--no-global-config",
];

/**
 * Searches one request id in a log of IIS, every line of which is parted into columns and counted; the baseline is
 * what GoAccess takes to parse the same file, where it is installed.
 *
 * @returns megabytes a second, and how many times GoAccess's
 */
export async function run({ seconds }: { readonly seconds: number }): Promise<Record<string, number>> {
  const folder = await mkdtemp(join(tmpdir(), "countersign-bench-"));
  try {
    const path = join(folder, "u_ex261126_x.log");
    await writeLog(path);
    const { size } = await stat(path);
    const searchMs = await bestMs(seconds * 500, () => search(path, size));
    const theirMs = await goAccessMs(path, folder);
    const rate = (ms: number): number => size / 1_000 / ms;
    return {
      "searching one request id, MB/s": rate(searchMs),
      ...(theirMs !== undefined && {
        "GoAccess parsing the file, MB/s": rate(theirMs),
        "ratio: searching to GoAccess": theirMs / searchMs,
      }),
    };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function search(path: string, bytes: number): Promise<void> {
  const found: number[] = [];
  const needles = [Buffer.from(requestIdOf(WANTED))];
  const report = await readLog({ path, bytes }, { needles, onLine: ({ number }) => found.push(number) });
  assert.deepEqual([found, report.malformed], [[WANTED + 5], 0]);
}

async function bestMs(forMs: number, once: () => Promise<void>): Promise<number> {
  const until = performance.now() + forMs;
  let best = Number.POSITIVE_INFINITY;
  do {
    const started = performance.now();
    await once();
    best = Math.min(best, performance.now() - started);
  } while (performance.now() < until);
  return best;
}

/** @returns undefined where it is not installed */
async function goAccessMs(path: string, folder: string): Promise<number | undefined> {
  const started = performance.now();
  try {
    await runFile("goaccess", [path, ...GOACCESS, "-o", join(folder, "report.json")]);
  } catch (error) {
    if ((error as { code?: unknown }).code !== "ENOENT") throw error;
    console.error("trace: GoAccess is not installed, and is left out");
    return undefined;
  }
  return performance.now() - started;
}

async function writeLog(path: string): Promise<void> {
  const file = createWriteStream(path);
  file.write(HEAD);
  for (let at = 0; at < LINES; at += 1_000) {
    const lines = Array.from({ length: 1_000 }, (_, more) => lineOf(at + more));
    if (!file.write(lines.join(""))) await once(file, "drain");
  }
  file.end();
  await once(file, "finish");
}

function lineOf(at: number): string {
  const time = new Date(Date.UTC(2026, 10, 26) + at * 100).toISOString();
  const client = `10.1.${at & 255}.${(at >> 8) & 255}`;
  return `${time.slice(0, 10)} ${time.slice(11, 19)} 10.0.0.1 POST /bus/v1/publish subject=orders.eu.${at}.create 443 CORP\\ann ${client} ${AGENT} https://apps.example.com/bus/ 202 0 0 ${at % 90} ${requestIdOf(at)}\r\n`;
}

function requestIdOf(at: number): string {
  return `01a219e3-a04d-7375-92a5-${String(at).padStart(12, "0")}`;
}
