import { spawn } from "node:child_process";
import { createWriteStream } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { DevstackError } from "./devstack-error.ts";

const SOURCE = fileURLToPath(new URL("../../gateway/src/main.ts", import.meta.url));
const READY_TIMEOUT_MS = 30_000;
const POLL_MS = 25;
/** The gateway lets requests in flight finish; a devstack does not wait longer. */
const STOP_TIMEOUT_MS = 10_000;
const LOG_CHARS_MAX = 1024 * 1024;

export interface StartGatewayOptions {
  readonly configFile: string;
  readonly publicUrl: string;
  /** What `countersign serve` is run from. Default: the source of this checkout. */
  readonly program?: string;
  /** Its output is added to this file too. */
  readonly logFile?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** In a process group of its own, so that Ctrl-C reaches only us and we end things in order. */
  readonly apart?: boolean;
}

/** A running gateway. */
export interface GatewayProcess {
  readonly url: string;
  readonly pid: number;
  /** What it has written to standard output and standard error, the last 1 Mi characters. */
  readonly log: () => string;
  /** Fulfils with the exit code when it has ended, whoever ended it; null when a signal did. */
  readonly exited: Promise<number | null>;
  /** Ends it and fulfils when it has ended. May be called again. */
  readonly stop: () => Promise<void>;
}

/**
 * Starts `countersign serve` and waits until `/healthz` answers. It ends with this process at the latest.
 *
 * @throws DevstackError with the end of its output when it does not start
 */
export async function startGateway({
  configFile,
  publicUrl,
  program = SOURCE,
  logFile,
  env = {},
  apart = false,
}: StartGatewayOptions): Promise<GatewayProcess> {
  const detached = apart && process.platform !== "win32";
  const child = spawn(process.execPath, [program, "serve", "--config", configFile], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...env },
    detached,
  });
  const killWithUs = (): void => void child.kill("SIGKILL");
  process.once("exit", killWithUs);

  let log = "";
  const file = logFile === undefined ? undefined : createWriteStream(logFile, { flags: "a", mode: 0o600 });
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      log = (log + text).slice(-LOG_CHARS_MAX);
      file?.write(text);
    });
  }
  const exited = new Promise<number | null>((resolve) => {
    child.once("close", resolve);
    child.once("error", () => resolve(null));
  }).finally(() => {
    process.off("exit", killWithUs);
    file?.end();
  });

  let ended = false;
  const stop = async (): Promise<void> => {
    if (!ended) child.kill("SIGTERM");
    const timer = setTimeout(() => child.kill("SIGKILL"), STOP_TIMEOUT_MS);
    await exited;
    clearTimeout(timer);
  };
  void exited.then(() => {
    ended = true;
  });

  const giveUpAt = performance.now() + READY_TIMEOUT_MS;
  while (!ended && child.pid !== undefined && performance.now() < giveUpAt) {
    if (await answers(`${publicUrl}/healthz`)) {
      return { url: publicUrl, pid: child.pid, log: () => log, exited, stop };
    }
    await Promise.race([delay(POLL_MS), exited]);
  }
  await stop();
  throw new DevstackError(`The gateway did not start:\n${log.trim().split("\n").slice(-20).join("\n")}`);
}

async function answers(url: string): Promise<boolean> {
  return await fetch(url, { signal: AbortSignal.timeout(1_000) }).then(
    (response) => response.ok,
    () => false,
  );
}
