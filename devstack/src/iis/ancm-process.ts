import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { createWriteStream } from "node:fs";
import { request } from "node:http";
import { connect } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { findFreePort } from "../ports.ts";

const SOURCE = fileURLToPath(new URL("../../../gateway/src/main.ts", import.meta.url));
/** The module's own. */
const POLL_MS = 250;

export interface AncmProcessOptions {
  readonly configFile: string;
  /** `/` or `/bus`. */
  readonly applicationPath: string;
  /** What `countersign serve` is run from. Default: the source of this checkout. */
  readonly program?: string;
  /** What it writes to standard error, which IIS discards too unless `stdoutLogEnabled`. */
  readonly logFile: string;
  /** `startupTimeLimit`. Default 120 s. */
  readonly startupTimeLimitMs?: number;
  /** `shutdownTimeLimit`. Default 10 s. */
  readonly shutdownTimeLimitMs?: number;
  readonly env?: Readonly<Record<string, string>>;
}

/** A process that ASP.NET Core Module V2 started. */
export interface AncmProcess {
  readonly port: number;
  readonly token: string;
  readonly pid: number;
  /** With its exit code; null when it was killed. */
  readonly exited: Promise<number | null>;
  /** Whether it ended by itself after the shutdown call. */
  readonly shutDown: () => Promise<boolean>;
}

/**
 * Starts it as the module does: port, token and application path by environment; then the port is tried every 250 ms.
 *
 * @returns undefined when it ends, or does not listen in time: 502.5
 */
export async function startAncmProcess(options: AncmProcessOptions): Promise<AncmProcess | undefined> {
  const { configFile, applicationPath, program = SOURCE, logFile, env = {} } = options;
  const { startupTimeLimitMs = 120_000, shutdownTimeLimitMs = 10_000 } = options;
  const port = await findFreePort();
  const token = randomUUID();
  const child = spawn(process.execPath, [program, "serve", "--config", configFile], {
    // What it writes to standard output is discarded: an audit log there would be lost.
    stdio: ["ignore", "ignore", "pipe"],
    env: {
      ...process.env,
      ASPNETCORE_PORT: String(port),
      ASPNETCORE_TOKEN: token,
      ASPNETCORE_APPL_PATH: applicationPath,
      ASPNETCORE_IIS_HTTPAUTH: "windows;anonymous;",
      ASPNETCORE_IIS_WEBSOCKETS_SUPPORTED: "true",
      ...env,
    },
  });
  const killWithUs = (): void => void child.kill("SIGKILL");
  process.once("exit", killWithUs);
  const log = createWriteStream(logFile, { flags: "a", mode: 0o600 });
  child.stderr.pipe(log);
  let ended = false;
  const exited = new Promise<number | null>((resolve) => {
    child.once("close", resolve);
    child.once("error", () => resolve(null));
  }).finally(() => {
    ended = true;
    process.off("exit", killWithUs);
    log.end();
  });

  const giveUpAt = performance.now() + startupTimeLimitMs;
  while (!(await listens(port))) {
    if (ended) return undefined;
    if (performance.now() > giveUpAt) {
      child.kill("SIGKILL");
      await exited;
      return undefined;
    }
    await Promise.race([delay(POLL_MS), exited]);
  }
  return {
    port,
    token,
    pid: child.pid ?? 0,
    exited,
    async shutDown() {
      await postShutdown(port, token, applicationPath).catch(() => {});
      const timer = setTimeout(() => child.kill("SIGKILL"), shutdownTimeLimitMs);
      const code = await exited;
      clearTimeout(timer);
      return code !== null;
    },
  };
}

async function listens(port: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = connect(port, "127.0.0.1", () => resolve(true)).once("error", () => resolve(false));
  const answer = await promise;
  socket.destroy();
  return answer;
}

/** `serverprocess.cpp`, SendShutdownHttpMessage: the blank at the end of the value is the module's. */
async function postShutdown(port: number, token: string, applicationPath: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const path = `${applicationPath.replace(/\/$/, "")}/iisintegration`;
  const headers = { "MS-ASPNETCORE-EVENT": "shutdown ", "MS-ASPNETCORE-TOKEN": token, "content-length": 0 };
  request({ host: "127.0.0.1", port, path, method: "POST", headers, agent: false }, (response) => {
    response.resume();
    if (response.statusCode === 202) resolve();
    else reject(new Error(`the shutdown call was answered with ${response.statusCode}`));
  })
    .once("error", reject)
    .end();
  await promise;
}
