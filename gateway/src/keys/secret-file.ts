import { randomBytes } from "node:crypto";
import { constants, type FileHandle, open, readdir, rename, unlink } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { GatewayError } from "../errors.ts";

/**
 * Reads a small file that only its owner may read.
 *
 * On POSIX a file that others may read is refused (see `isOpenToOthers`). On Windows nothing is checked: who may read it follows from
 * the access control list its folder hands down.
 *
 * @param what  names the file in messages: "the proxy key"
 * @returns its text without the white space around it; undefined when there is no such file
 * @throws GatewayError KEYS_INVALID  readable by others, longer than `bytesMax`, or not readable at all
 */
export async function readSecretFile(
  path: string,
  what: string,
  bytesMax: number,
): Promise<string | undefined> {
  let file: FileHandle;
  try {
    file = await open(path, constants.O_RDONLY);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw invalid(path, what, `it cannot be opened (${codeOf(error)})`, "Let the gateway's own user own it.");
  }
  try {
    const facts = await file.stat();
    if (!facts.isFile()) throw invalid(path, what, "it is not a file", "Run `countersign init` again.");
    if (process.platform !== "win32" && isOpenToOthers(facts, process.geteuid?.() ?? 0)) {
      const mode = (facts.mode & 0o777).toString(8).padStart(4, "0");
      throw invalid(path, what, `others may read it (mode ${mode})`, `Run: chmod 600 "${path}"`);
    }
    if (facts.size > bytesMax) {
      throw invalid(path, what, `it has ${facts.size} bytes, at most ${bytesMax} are right`, "Restore it.");
    }
    return (await file.readFile("utf8")).trim();
  } finally {
    await file.close();
  }
}

/**
 * Whether a file may be read or written by more than its user: any right of group or world. One case is no leak:
 * a file of root's that the user's group may read, since that is how an orchestrator hands a secret to a process
 * that is not root (Kubernetes: `fsGroup`).
 */
export function isOpenToOthers(
  { mode, uid }: { readonly mode: number; readonly uid: number },
  ownUid: number,
): boolean {
  const handedOver = uid === 0 && ownUid !== 0;
  return (mode & (handedOver ? 0o037 : 0o077)) !== 0;
}

/**
 * Creates a file that only its owner may read, durable before the promise fulfils.
 *
 * @throws GatewayError KEYS_INVALID  there is one already: nothing that holds a key is ever overwritten
 */
export async function createSecretFile(path: string, what: string, text: string): Promise<void> {
  try {
    await writeDurably(path, text);
  } catch (error) {
    if (codeOf(error) !== "EEXIST") throw error;
    throw invalid(path, what, "there is one already", "Choose another directory, or remove it yourself.");
  }
  await syncDirectory(dirname(path));
}

/** Replaces a file so that a crash at any moment leaves either the old text or the new, whole. */
export async function replaceSecretFile(path: string, text: string): Promise<void> {
  const next = `${path}.${randomBytes(6).toString("hex")}.new`;
  try {
    await writeDurably(next, text);
    await rename(next, path);
  } catch (error) {
    await unlink(next).catch(() => undefined);
    throw error;
  }
  await syncDirectory(dirname(path));
}

/** Removes what `replaceSecretFile` left behind when the process was killed: unfinished copies hold keys too. */
export async function removeLeftovers(path: string): Promise<void> {
  const folder = dirname(path);
  const names = await readdir(folder).catch(() => []);
  for (const name of names) {
    if (name.startsWith(`${basename(path)}.`) && name.endsWith(".new")) await unlink(join(folder, name));
  }
}

/** The one wording for keys that cannot be used: what was attempted, what was found, what to do. */
export function invalid(path: string, what: string, found: string, remedy: string): GatewayError {
  return new GatewayError("KEYS_INVALID", `Cannot use ${what}, "${path}": ${found}. ${remedy}`);
}

async function writeDurably(path: string, text: string): Promise<void> {
  const file = await open(path, "wx", 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** A rename is durable only with its directory, which Windows cannot open. */
async function syncDirectory(path: string): Promise<void> {
  if (process.platform === "win32") return;
  const directory = await open(path, constants.O_RDONLY);
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "unknown";
}
