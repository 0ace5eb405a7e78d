import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileFaultOf, GatewayError } from "../errors.ts";
import { LIMITS } from "./limits.ts";
import type { PolicyFile } from "./policy.ts";

/**
 * Reads a policy from disk: a file, or the `*.yaml` and `*.yml` of a folder (not of folders in it), at most 100
 * of at most 1 MiB. `parsePolicy` judges what they say.
 *
 * @throws GatewayError POLICY_INVALID when it cannot be read, is not UTF-8, or there is none or too much of it
 */
export function loadPolicyFiles(path: string): PolicyFile[] {
  return pathsOf(path).map((file) => ({ path: file, text: textOf(file) }));
}

function pathsOf(path: string): string[] {
  const names = attempt(path, () => (statSync(path).isDirectory() ? readdirSync(path) : undefined));
  if (!names) return [path];
  const files = names.filter((name) => /^[^.].*\.ya?ml$/.test(name)).sort();
  if (files.length === 0) throw invalid(path, "the folder has no *.yaml file");
  if (files.length > LIMITS.filesMax) {
    throw invalid(path, `the folder has ${files.length} files; at most ${LIMITS.filesMax} are read`);
  }
  return files.map((name) => join(path, name));
}

function textOf(path: string): string {
  const stats = attempt(path, () => statSync(path));
  if (!stats.isFile()) throw invalid(path, "it is not a file");
  if (stats.size > LIMITS.fileBytesMax) {
    throw invalid(path, `it has ${stats.size} bytes; at most ${LIMITS.fileBytesMax} are read`);
  }
  const bytes = attempt(path, () => readFileSync(path));
  try {
    // The BOM stays, so that the policy's version is the hash of the file's bytes.
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw invalid(path, "it is not UTF-8");
  }
}

function attempt<T>(path: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    throw invalid(path, fileFaultOf(cause), cause);
  }
}

function invalid(path: string, why: string, cause?: unknown): GatewayError {
  return new GatewayError("POLICY_INVALID", `Cannot read the policy "${path}": ${why}`, { cause });
}
