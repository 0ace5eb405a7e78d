import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { DevstackError } from "./devstack-error.ts";

/** Where `npm start` keeps everything unless told otherwise. */
export const STATE_DIR: string = fileURLToPath(new URL("../../.state", import.meta.url));

const fileOf = (stateDir: string): string => join(stateDir, "running.json");

/** What the scripts beside `npm start` need to know of it. */
export interface Running {
  readonly gatewayUrl: string;
  readonly issuer: string;
  readonly natsUrl: string;
  readonly adminCredsFile: string;
  readonly serviceSecret: string;
}

export async function writeRunning(stateDir: string, running: Running): Promise<void> {
  await writeFile(fileOf(stateDir), `${JSON.stringify(running, null, 2)}\n`, { mode: 0o600 });
}

/** What has ended has nothing to be asked, and leaves no secret of its own behind. */
export async function removeRunning(stateDir: string): Promise<void> {
  await rm(fileOf(stateDir), { force: true });
}

/** @throws DevstackError when nothing runs there */
export async function readRunning(stateDir: string): Promise<Running> {
  try {
    return JSON.parse(await readFile(fileOf(stateDir), "utf8")) as Running;
  } catch (cause) {
    throw new DevstackError(`No devstack in ${stateDir}: run \`npm start\` first, in another terminal.`, {
      cause,
    });
  }
}

/** Reads the command line of such a script: what is asked for, and `--state <folder>` as `npm start` was given it. */
export function readScriptArguments(): { readonly asked: string | undefined; readonly stateDir: string } {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { state: { type: "string", default: STATE_DIR } },
  });
  return { asked: positionals[0], stateDir: values.state };
}
