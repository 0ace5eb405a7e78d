import { constants } from "node:fs";
import { access, open, stat } from "node:fs/promises";
import { dirname } from "node:path";
import type { LocalConfig } from "../config/local.ts";
import type { NatsKeys } from "../credentials/nats-keys.ts";
import { messageOf } from "../errors.ts";
import { type Candidate, loadCandidate } from "../policy/candidate.ts";
import type { Clock } from "../time.ts";
import { loadKeys } from "./from-config.ts";
import { readCertificate } from "./listen.ts";

/** One thing looked at. */
export interface Examined {
  /** `policy`, `keys`, `issuer entra`, `nats`, `server-version`, … */
  readonly check: string;
  readonly ok: boolean;
  readonly found: string;
  /** What to do about it; empty when ok. */
  readonly remedy: string;
}

export type OnExamined = (examined: Examined) => void;

/** What was found to be right, for whoever goes on with it. */
export interface LocalParts {
  readonly candidate?: Extract<Candidate, { readonly ok: true }>;
  readonly keys?: NatsKeys;
}

/**
 * Looks at everything that a gateway needs on this machine, without asking anybody else and without changing
 * anything. Never rejects: what is wrong is a finding, and what the configuration does not name is not looked at.
 */
export async function examineLocal(
  { policy, issuerNames, keys: folder, mode, certificate, auditFiles, state }: LocalConfig,
  clock: Clock,
  onExamined: OnExamined,
): Promise<LocalParts> {
  const candidate = await (policy !== undefined &&
    attempt("policy", POLICY, onExamined, () => loadCandidate(policy, issuerNames, clock()), foundOf));
  const keys = await (folder !== undefined &&
    attempt(
      "keys",
      "Run `countersign init`, or restore the folder.",
      onExamined,
      () => loadKeys({ nats: { keys: folder, ...(mode && { mode }) } }),
      () => "the folder is complete",
    ));
  if (certificate) {
    await attempt("certificate", CERTIFICATE, onExamined, () => readCertificate(certificate), fits);
  }
  for (const path of auditFiles) {
    const remedy = `Make the folder ${dirname(path)}, and let the gateway's user write in it and in the file.`;
    await attempt(`audit file`, remedy, onExamined, () => checkAuditFile(path), takesRecords(path));
  }
  if (state !== undefined) await attempt("state", STATE, onExamined, () => checkStateFolder(state), String);
  return { ...(candidate && { candidate }), ...(keys && { keys }) };
}

const POLICY = "Mend what it names; `countersign policy check` shows the same.";
const CERTIFICATE = "Give `listen: tls` a certificate and the private key it was issued for.";
const STATE = "Let the gateway's user make and write this folder, or name another: `state: PATH`.";

function foundOf({ policy, warnings }: Extract<Candidate, { readonly ok: true }>): string {
  const roles = policy.roles.length === 1 ? "1 role" : `${policy.roles.length} roles`;
  return [`${roles}, version ${policy.version.slice(0, 12)}`, ...warnings].join("; ");
}

function fits(): string {
  return "the key fits the certificate";
}

function takesRecords(path: string): () => string {
  return () => `${path} takes records`;
}

/** The file is made when it is not there; its folder is not, and rotation makes files in it. */
async function checkAuditFile(path: string): Promise<void> {
  try {
    const facts = await stat(path).catch(orMissing);
    if (facts?.isFile()) await (await open(path, "r+")).close();
    else if (facts?.isDirectory()) throw new Error("it is a folder");
    else if (facts) return await access(path, constants.W_OK);
    await access(dirname(path), constants.W_OK | constants.X_OK);
  } catch (cause) {
    throw new Error(`Cannot write the audit log to ${path}: ${messageOf(cause)}`, { cause });
  }
}

/** The folder is made when it is not there, with those above it. */
async function checkStateFolder(path: string): Promise<string> {
  try {
    let folder = path;
    for (let facts = await stat(folder).catch(orMissing); !facts; facts = await stat(folder).catch(orMissing))
      folder = dirname(folder);
    if (!(await stat(folder)).isDirectory()) throw new Error(`${folder} is not a folder`);
    await access(folder, constants.R_OK | constants.W_OK | constants.X_OK);
    return folder === path ? `${path} can be written` : `${path} can be made`;
  } catch (cause) {
    throw new Error(`Cannot keep state in ${path}: ${messageOf(cause)}`, { cause });
  }
}

function orMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== "ENOENT") throw error;
}

/** @returns what it came to, or undefined after it was reported why not */
export async function attempt<T>(
  check: string,
  remedy: string,
  onExamined: OnExamined,
  look: () => Promise<T> | T,
  found: (value: T) => string,
): Promise<T | undefined> {
  try {
    const value = await look();
    onExamined({ check, ok: true, found: found(value), remedy: "" });
    return value;
  } catch (error) {
    onExamined({ check, ok: false, found: messageOf(error), remedy });
    return undefined;
  }
}
