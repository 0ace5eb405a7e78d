/**
 * A real IIS in the place of the stand-in, on a Windows runner that is thrown away: `.github/workflows/windows-iis.yml`. The
 * site is what `countersign iis init` writes, put there by its own script, which changes sections of the whole server.
 *
 * **Not yet run.** It was written from the documentation of appcmd.
 */
import { execFileSync } from "node:child_process";
import { copyFileSync, existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { IisSite } from "./iis/site.ts";

const WINDOWS = process.env.windir ?? "C:\\Windows";
const INETSRV = join(WINDOWS, "system32", "inetsrv");
const APPCMD = join(INETSRV, "appcmd.exe");
/** What the script has changed, for `countersign iis doctor`. */
export const SERVER_CONFIG: string = join(INETSRV, "config", "applicationHost.config");
const AUTHENTICATION = "system.webServer/security/authentication";
const STOP_TIMEOUT_MS = 60_000;
const LOOK_MS = 250;

/** A folder with all that `countersign iis init` wrote, the gateway's program and its configuration. */
export interface DeployedFolder {
  readonly path: string;
  /** `--site` and `--pool`. */
  readonly name: string;
  /** Of `--public-url`. */
  readonly port: number;
}

/** Runs the folder's script, which makes the site and its pool; `stop` takes both away. */
export function startRealIis(folder: DeployedFolder): IisSite {
  // Twice: run again, it is to change nothing.
  for (const _ of [1, 2]) runScript(folder.path);
  return new RealSite(folder);
}

class RealSite implements IisSite {
  readonly port: number;
  readonly #logFolder: string;
  readonly #name: string;
  readonly #gatewayLogFile: string;

  constructor({ path, name, port }: DeployedFolder) {
    this.port = port;
    this.#name = name;
    this.#gatewayLogFile = join(path, "logs", "gateway.log");
    const logs = ask("list", "site", name, "/text:logFile.directory").replace(
      /%SystemDrive%/i,
      process.env.SystemDrive ?? "C:",
    );
    this.#logFolder = join(logs, `W3SVC${ask("list", "site", name, "/text:id")}`);
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** The newest. A former site of the same number may have left lines in it: `s-port` tells whose they are. */
  get logFile(): string {
    const names = existsSync(this.#logFolder) ? readdirSync(this.#logFolder).sort() : [];
    const newest = names.findLast((name) => name.endsWith("_x.log"));
    if (newest !== undefined) return join(this.#logFolder, newest);
    throw new Error(`expected a log with a custom field in ${this.#logFolder}; found ${names.join(", ")}`);
  }

  readonly flushLog = (): void => {
    execFileSync("netsh", ["http", "flush", "logbuffer"]);
  };

  /** Empty behind ARR, where the gateway's service has its log elsewhere. */
  #gatewayLog(): string {
    return existsSync(this.#gatewayLogFile) ? readFileSync(this.#gatewayLogFile, "utf8") : "";
  }

  readonly process = (): { readonly port: number; readonly pid: number } | undefined => {
    const found = [...this.#gatewayLog().matchAll(/"address":"127\.0\.0\.1:(\d+)"/g)].at(-1)?.[1];
    if (found === undefined) return undefined;
    const holder = execFileSync("netstat", ["-ano", "-p", "TCP"], { encoding: "utf8" });
    const pid = new RegExp(`127\\.0\\.0\\.1:${found}\\s+\\S+\\s+LISTENING\\s+(\\d+)`).exec(holder)?.[1];
    return pid === undefined ? undefined : { port: Number(found), pid: Number(pid) };
  };

  readonly setWindowsAuthentication = (isOn: boolean): void => {
    for (const [kind, enabled] of [
      ["anonymousAuthentication", !isOn],
      ["windowsAuthentication", isOn],
    ] as const) {
      const section = `-section:${AUTHENTICATION}/${kind}`;
      ask("set", "config", this.#name, section, `/enabled:${enabled}`, "/commit:apphost");
    }
  };

  readonly recycle = async (): Promise<boolean> => {
    const before = this.#gatewayLog().length;
    await this.#stopPool();
    ask("start", "apppool", this.#name);
    return this.#gatewayLog().slice(before).includes('"msg":"ending"');
  };

  async #stopPool(): Promise<void> {
    ask("stop", "apppool", this.#name);
    const giveUpAt = performance.now() + STOP_TIMEOUT_MS;
    while (this.process() !== undefined && performance.now() < giveUpAt) await delay(LOOK_MS);
  }

  /** For whoever wants real ones to read. */
  #keepLog(): void {
    const folder = process.env.COUNTERSIGN_IIS_LOGS;
    if (folder === undefined) return;
    this.flushLog();
    copyFileSync(this.logFile, join(folder, `${this.#name}.log`));
  }

  readonly stop = async (): Promise<void> => {
    try {
      ask("stop", "site", this.#name);
      this.#keepLog();
      await this.#stopPool();
    } finally {
      ask("delete", "site", this.#name);
      ask("delete", "apppool", this.#name);
    }
  };
}

/** The one that COUNTERSIGN_IIS_SCRIPT names: `server.ps1`, or `server.cmd`, which does the same. */
function runScript(folder: string): void {
  const name = process.env.COUNTERSIGN_IIS_SCRIPT ?? "server.ps1";
  const script = join(folder, name);
  const [program, ...args] = name.endsWith(".ps1")
    ? ["powershell.exe", "-NoProfile", "-ExecutionPolicy", "Bypass", "-File", script]
    : ["cmd.exe", "/d", "/c", script];
  // A newer PowerShell above us has put its own modules there, which Windows PowerShell cannot load.
  const { PSModulePath: _, ...env } = process.env;
  // What it says goes to standard error: of the last step that it names, one knows which one failed.
  execFileSync(program ?? "", args, { stdio: ["ignore", 2, 2], env });
}

function ask(...args: readonly string[]): string {
  return execFileSync(APPCMD, [...args], { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] }).trim();
}
