import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { DevstackError } from "./devstack-error.ts";

/** Where `npm start` keeps everything unless told otherwise. */
export const STATE_DIR: string = fileURLToPath(new URL("../../.state", import.meta.url));

/** What the scripts beside `npm start` need to know of it. */
export interface Running {
  readonly gatewayUrl: string;
  readonly issuer: string;
  readonly natsUrl: string;
  readonly adminCredsFile: string;
  readonly serviceSecret: string;
}

export async function writeRunning(stateDir: string, running: Running): Promise<void> {
  await writeFile(join(stateDir, "running.json"), `${JSON.stringify(running, null, 2)}\n`, { mode: 0o600 });
}

/** @throws DevstackError when nothing was ever started there */
export async function readRunning(stateDir: string): Promise<Running> {
  try {
    return JSON.parse(await readFile(join(stateDir, "running.json"), "utf8")) as Running;
  } catch (cause) {
    throw new DevstackError(`No devstack in ${stateDir}: run \`npm start\` first, in another terminal.`, {
      cause,
    });
  }
}
