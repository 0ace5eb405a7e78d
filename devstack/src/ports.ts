import { execFile } from "node:child_process";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { readdir, readFile, readlink } from "node:fs/promises";
import { createServer } from "node:net";
import { basename } from "node:path";
import { promisify } from "node:util";

/** Below what Linux, macOS and Windows hand out to outgoing connections, so that none of those takes it meanwhile. */
const FREE_PORTS = { from: 20_000, below: 32_000 };
const FREE_PORT_TRIES = 50;
const HOLDER_TIMEOUT_MS = 3_000;

/** @returns a port of 127.0.0.1 that nobody listens on, for what must know its port before it listens */
export async function findFreePort(): Promise<number> {
  for (let attempt = 0; attempt < FREE_PORT_TRIES; attempt++) {
    const port = randomInt(FREE_PORTS.from, FREE_PORTS.below);
    if (await isPortFree(port)) return port;
  }
  throw new Error(`no port from ${FREE_PORTS.from} to ${FREE_PORTS.below} is free`);
}

export async function isPortFree(port: number): Promise<boolean> {
  const server = createServer();
  try {
    server.listen(port, "127.0.0.1");
    await once(server, "listening");
    return true;
  } catch {
    return false;
  } finally {
    server.close();
  }
}

/**
 * Who listens on a port of this machine, as far as we may see it.
 *
 * @returns `node (process 4711)`, or undefined
 */
export async function findPortHolder(port: number): Promise<string | undefined> {
  const find =
    process.platform === "linux"
      ? holderOnLinux
      : process.platform === "win32"
        ? holderOnWindows
        : holderByLsof;
  return await find(port).catch(() => undefined);
}

/** proc_pid_net(5): the socket's inode, then the process that has it open. */
async function holderOnLinux(port: number): Promise<string | undefined> {
  const listening = "0A";
  const hexPort = port.toString(16).toUpperCase().padStart(4, "0");
  const tables = await Promise.all(["tcp", "tcp6"].map((name) => readFile(`/proc/net/${name}`, "utf8")));
  const rows = tables.flatMap((table) => table.split("\n")).map((row) => row.trim().split(/\s+/));
  const row = rows.find(([, local, , state]) => local?.endsWith(`:${hexPort}`) && state === listening);
  const socket = `socket:[${row?.[9]}]`;
  for (const pid of (await readdir("/proc")).filter((name) => /^\d+$/.test(name))) {
    // Other users' processes do not show theirs.
    for (const descriptor of await readdir(`/proc/${pid}/fd`).catch(() => [])) {
      if ((await readlink(`/proc/${pid}/fd/${descriptor}`).catch(() => "")) !== socket) continue;
      return `${await programOnLinux(pid)} (process ${pid})`;
    }
  }
  return undefined;
}

/** The first word of the command line: `comm` is the name of a thread, and Node calls its own "MainThread". */
async function programOnLinux(pid: string): Promise<string> {
  const [command = ""] = (await readFile(`/proc/${pid}/cmdline`, "utf8")).split("\0");
  return basename(command) || "something";
}

async function holderByLsof(port: number): Promise<string | undefined> {
  const lines = await run("lsof", ["-nP", `-iTCP:${port}`, "-sTCP:LISTEN", "-Fpc"]);
  const [pid, name] = [/^p(\d+)$/m.exec(lines)?.[1], /^c(.+)$/m.exec(lines)?.[1]];
  return pid && `${name ?? "something"} (process ${pid})`;
}

async function holderOnWindows(port: number): Promise<string | undefined> {
  const lines = await run("netstat", ["-ano", "-p", "TCP"]);
  const pid = new RegExp(`:${port}\\s+\\S+\\s+LISTENING\\s+(\\d+)`).exec(lines)?.[1];
  if (pid === undefined) return undefined;
  const task = await run("tasklist", ["/FI", `PID eq ${pid}`, "/FO", "CSV", "/NH"]);
  return `${/^"([^"]+)"/.exec(task.trim())?.[1] ?? "something"} (process ${pid})`;
}

async function run(command: string, args: readonly string[]): Promise<string> {
  return (await promisify(execFile)(command, args, { timeout: HOLDER_TIMEOUT_MS })).stdout;
}
