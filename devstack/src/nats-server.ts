import { type ChildProcess, execFile, spawn } from "node:child_process";
import { access, constants, mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { DevstackError } from "./devstack-error.ts";
import { fetchNatsFromDebian } from "./nats-fetch-debian.ts";
import { fetchNatsRelease } from "./nats-fetch-release.ts";

/** Older ones ignore `proxy_required` or let identity headers be forged (CVE-2026-33223). */
export const NATS_SERVER_VERSION_MIN = "2.12.8";

const EXECUTABLE = process.platform === "win32" ? "nats-server.exe" : "nats-server";
const LOCK_TIMEOUT_MS = 600_000;
const READY_TIMEOUT_MS = 30_000;
/** nats-server finishes its JetStream writes on SIGTERM; a devstack does not wait longer for it. */
const STOP_TIMEOUT_MS = 5_000;
const LOG_CHARS_MAX = 512 * 1024;

export interface FindNatsServerOptions {
  /** Told what happens while something is fetched. Default: silence. */
  readonly progress?: (text: string) => void;
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Where a fetched executable is kept, shared by all checkouts. Default: the user's cache folder. */
  readonly cacheFolder?: string;
  /** Ways to fetch one, tried in order. */
  readonly fetchers?: readonly NatsFetcher[];
}

export interface NatsFetcher {
  readonly name: string;
  /** Writes the executable to `target` or throws. */
  readonly fetch: (options: {
    readonly target: string;
    readonly progress: (text: string) => void;
  }) => Promise<void>;
}

const FETCHERS: readonly NatsFetcher[] = [
  { name: "the official release", fetch: fetchNatsRelease },
  { name: "Debian's package", fetch: fetchNatsFromDebian },
];

/**
 * Finds nats-server ≥ 2.12.8: `COUNTERSIGN_NATS_SERVER`, else the path, else the cache, else fetches it into
 * the cache, without root and without installing anything. Two processes never fetch at once.
 *
 * @returns the path of the executable
 * @throws DevstackError with all that was tried and what to do
 */
export async function findNatsServer({
  progress = () => {},
  env = process.env,
  cacheFolder = userCacheFolder(env),
  fetchers = FETCHERS,
}: FindNatsServerOptions = {}): Promise<string> {
  const named = env.COUNTERSIGN_NATS_SERVER;
  if (named !== undefined && named !== "") {
    // Somebody who names one means it: another one in its place would only confuse.
    const flaw = await flawOf(named);
    if (flaw === undefined) return named;
    throw new DevstackError(`COUNTERSIGN_NATS_SERVER is ${named}: ${flaw}.`);
  }

  const tried: string[] = [];
  for (const folder of (env.PATH ?? env.Path ?? "").split(delimiter).filter((entry) => entry !== "")) {
    const candidate = join(folder, EXECUTABLE);
    if (!(await isExecutable(candidate))) continue;
    const flaw = await flawOf(candidate);
    if (flaw === undefined) return candidate;
    tried.push(`${candidate}: ${flaw}`);
  }
  if (tried.length === 0) tried.push("the path: no nats-server on it");

  const cached = join(cacheFolder, EXECUTABLE);
  if ((await flawOf(cached)) === undefined) return cached;
  await mkdir(cacheFolder, { recursive: true });
  return await withLock(join(cacheFolder, "lock"), progress, async () => {
    if ((await flawOf(cached)) === undefined) return cached;
    for (const { name, fetch } of fetchers) {
      const flaw = await fetchInto(cached, fetch, progress);
      if (flaw === undefined) return cached;
      tried.push(`${name}: ${flaw}`);
      progress(`Not from ${name}: ${flaw}.`);
    }
    throw new DevstackError(
      [
        `Cannot find nats-server ${NATS_SERVER_VERSION_MIN} or later. Tried:`,
        ...tried.map((line) => `  - ${line}`),
        `Get it from https://github.com/nats-io/nats-server/releases (macOS: brew install nats-server, Windows: scoop install nats-server) and put it on the path, or name the executable in COUNTERSIGN_NATS_SERVER.`,
      ].join("\n"),
    );
  });
}

/** @returns what is wrong with what was fetched, or undefined when it stands in `cached` now */
async function fetchInto(
  cached: string,
  fetch: NatsFetcher["fetch"],
  progress: (text: string) => void,
): Promise<string | undefined> {
  // The file gets its name only when it is whole and tried, and keeps the suffix that Windows runs it by.
  const target = join(await mkdtemp(`${cached}-`), EXECUTABLE);
  try {
    await fetch({ target, progress });
    const flaw = await flawOf(target);
    if (flaw === undefined) await rename(target, cached);
    return flaw;
  } catch (error) {
    if (error instanceof Error) return error.message;
    throw error;
  } finally {
    await rm(join(target, ".."), { recursive: true, force: true });
  }
}

async function isExecutable(path: string): Promise<boolean> {
  return await access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}

/** @returns why this is no nats-server we can use, or undefined */
async function flawOf(path: string): Promise<string | undefined> {
  if (!(await isExecutable(path))) return "there is no executable file";
  const asked = await promisify(execFile)(path, ["--version"], { timeout: READY_TIMEOUT_MS }).catch(
    (error: unknown) => (error instanceof Error ? error : new Error(String(error))),
  );
  if (asked instanceof Error) return `it does not run (${asked.message.split("\n")[0]})`;
  const version = /v?(\d+\.\d+\.\d+)/.exec(asked.stdout)?.[1];
  if (version === undefined) return "it does not say its version";
  if (!isAtLeast(version, NATS_SERVER_VERSION_MIN)) {
    return `it is ${version}, needed is ${NATS_SERVER_VERSION_MIN} or later`;
  }
  return undefined;
}

function isAtLeast(version: string, minimum: string): boolean {
  const [found, wanted] = [version.split(".").map(Number), minimum.split(".").map(Number)];
  const differing = wanted.findIndex((part, index) => part !== found[index]);
  return differing < 0 || (found[differing] ?? 0) > (wanted[differing] ?? 0);
}

function userCacheFolder(env: Readonly<Record<string, string | undefined>>): string {
  const base =
    process.platform === "win32"
      ? (env.LOCALAPPDATA ?? join(homedir(), "AppData", "Local"))
      : process.platform === "darwin"
        ? join(homedir(), "Library", "Caches")
        : env.XDG_CACHE_HOME || join(homedir(), ".cache");
  return join(base, "countersign", "nats-server");
}

/** Holds a lock file, whose text is the holder's process id, while `work` runs. A dead holder's lock is taken over. */
async function withLock<T>(
  path: string,
  progress: (text: string) => void,
  work: () => Promise<T>,
): Promise<T> {
  const giveUpAt = performance.now() + LOCK_TIMEOUT_MS;
  for (let told = false; ; told = true) {
    try {
      await writeFile(path, String(process.pid), { flag: "wx" });
      break;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
    const holder = Number(await readFile(path, "utf8").catch(() => ""));
    if (holder > 0 && !isAlive(holder)) {
      await rm(path, { force: true });
      continue;
    }
    if (performance.now() > giveUpAt) throw new DevstackError(`${path} is held by process ${holder}.`);
    if (!told) progress(`Waiting for process ${holder}, which is fetching nats-server …`);
    await delay(200);
  }
  try {
    return await work();
  } finally {
    await rm(path, { force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

export interface StartNatsServerOptions {
  /** Text of its configuration file. Address and port are set by us; it must not log to a file. */
  readonly config: string;
  /** On 127.0.0.1. Default: a free one. */
  readonly port?: number;
  /**
   * Existing folder the configuration is written to (`nats-server.conf`), to which its relative paths refer
   * and where the server runs. Default: a temporary one, removed at the end.
   */
  readonly folder?: string;
  /** Default: `findNatsServer()`. */
  readonly executable?: string;
  /** In a process group of its own, so that Ctrl-C reaches only us and we end things in order. */
  readonly apart?: boolean;
}

/** A running nats-server. */
export interface NatsServer {
  /** `nats://127.0.0.1:<port>` */
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  /** What it has logged, the last 512 Ki characters. */
  readonly log: () => string;
  /** Fulfils when the process has ended, whoever ended it. */
  readonly exited: Promise<void>;
  /** Ends it and fulfils when it has ended. May be called again. */
  readonly stop: () => Promise<void>;
}

/**
 * Starts nats-server on 127.0.0.1 and waits until it accepts connections. It ends with this process at the latest.
 *
 * @throws DevstackError with the end of its log when it does not start
 */
export async function startNatsServer({
  config,
  port = -1,
  folder,
  executable,
  apart = false,
}: StartNatsServerOptions): Promise<NatsServer> {
  const program = executable ?? (await findNatsServer());
  const home = folder ?? (await mkdtemp(join(tmpdir(), "countersign-nats-")));
  const configFile = join(home, "nats-server.conf");
  await writeFile(configFile, config, { mode: 0o600 });
  // Flags win over the file, so that no test listens on all interfaces by oversight.
  const args = ["--config", configFile, "--addr", "127.0.0.1", "--port", String(port)];
  // On Windows an own group would open a console window.
  const detached = apart && process.platform !== "win32";
  const child = spawn(program, args, { cwd: home, stdio: ["ignore", "ignore", "pipe"], detached });
  const killWithUs = (): void => void child.kill("SIGKILL");
  process.once("exit", killWithUs);

  let log = "";
  const exited = new Promise<void>((resolve) => {
    child.once("close", () => resolve());
    child.once("error", () => resolve());
  }).then(async () => {
    process.off("exit", killWithUs);
    if (folder === undefined) await rm(home, { recursive: true, force: true, maxRetries: 3 });
  });
  const ready = new Promise<number>((resolve) => {
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      log = (log + text).slice(-LOG_CHARS_MAX);
      const listening = /Listening for client connections on [^\n]*:(\d+)\n/.exec(log)?.[1];
      if (listening !== undefined && log.includes("Server is ready")) resolve(Number(listening));
    });
  });

  const giveUp = new AbortController();
  const listening = await Promise.race([
    ready,
    exited,
    delay(READY_TIMEOUT_MS, undefined, { signal: giveUp.signal }).catch(() => undefined),
  ]);
  giveUp.abort();
  if (listening === undefined || child.pid === undefined) {
    await stopChild(child, exited);
    const lines = log.trim().split("\n").slice(-5).join("\n");
    throw new DevstackError(`${program} did not start:\n${lines || "it logged nothing"}`);
  }
  return {
    url: `nats://127.0.0.1:${listening}`,
    port: listening,
    pid: child.pid,
    log: () => log,
    exited,
    stop: () => stopChild(child, exited),
  };
}

async function stopChild(child: ChildProcess, exited: Promise<void>): Promise<void> {
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), STOP_TIMEOUT_MS);
  await exited;
  clearTimeout(timer);
}
