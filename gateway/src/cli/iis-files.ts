import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileFaultOf, GatewayError } from "../errors.ts";
import type { DeployFile } from "../iis/deploy/files.ts";
import { lineDiff } from "../iis/deploy/line-diff.ts";
import { createSecretFile, readSecretFile } from "../keys/secret-file.ts";

/** What became of a file. */
export interface Placed extends Pick<DeployFile, "path" | "what"> {
  readonly state: "written" | "unchanged" | "replaced" | "differs";
  /** Lines that differ; never of a secret. */
  readonly diff: readonly string[];
}

/** Two keys on two lines, with whatever a person put around them. */
const SECRET_BYTES_MAX = 4_096;

/** The first of a file of secrets: the second is one that is to take its place. */
export async function readSecret(folder: string, path: string): Promise<string | undefined> {
  const text = await readSecretFile(join(folder, path), path, SECRET_BYTES_MAX);
  return text?.split(/\s+/, 1)[0];
}

/**
 * Writes a file that is not there, leaves one that is the same, and compares one that differs: somebody has changed it,
 * or wants another deployment now.
 *
 * @param force  replaces it then; never a secret
 */
export async function placeFile(folder: string, file: DeployFile, force: boolean): Promise<Placed> {
  const { path, what, secret, crlf } = file;
  const target = join(folder, path);
  const text = crlf ? file.text.replaceAll("\n", "\r\n") : file.text;
  const there = await textAt(target);
  if (there === undefined) {
    await mkdir(dirname(target), { recursive: true, ...(secret && { mode: 0o700 }) });
    if (secret) await createSecretFile(target, what, text);
    else await writeFile(target, text, { flag: "wx" });
    return { path, what, state: "written", diff: [] };
  }
  if (secret) return { path, what, state: holdsSecret(there, file.text) ? "unchanged" : "differs", diff: [] };
  // An editor that ends lines its own way has changed nothing.
  const diff = lineDiff(there, text);
  if (diff.length === 0) return { path, what, state: "unchanged", diff };
  if (force) await writeFile(target, text);
  return { path, what, state: force ? "replaced" : "differs", diff };
}

/** While one secret replaces another a file may have a second line, and more around it. */
function holdsSecret(there: string, text: string): boolean {
  const value = /value="([^"]*)"/.exec(text)?.[1] ?? text.trim();
  return there.includes(value);
}

async function textAt(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new GatewayError("CONFIG_INVALID", `Cannot read ${path}: ${fileFaultOf(error)}`);
  }
}

const MODULE = "CountersignIdentity.cs";

/** The module's source: beside the program as it is released, or where it stands in the repository. */
export async function readModuleSource(): Promise<string> {
  for (const place of [`./${MODULE}`, `../iis/module/${MODULE}`]) {
    const text = await readFile(new URL(place, import.meta.url), "utf8").catch(() => undefined);
    if (text !== undefined) return text;
  }
  throw new GatewayError("CONFIG_INVALID", `Cannot find ${MODULE}: it is released beside countersign.js`);
}
