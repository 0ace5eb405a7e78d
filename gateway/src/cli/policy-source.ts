import { readFileSync, statSync } from "node:fs";
import { dirname, relative, resolve } from "node:path";
import { parseDocument } from "yaml";
import { fileFaultOf, GatewayError } from "../errors.ts";
import { loadPolicyFiles } from "../policy/load.ts";
import { parsePolicy } from "../policy/parse.ts";
import { formatMistake, type Mistake, type Policy, type PolicyFile } from "../policy/policy.ts";
import type { CommandIo } from "./io.ts";

const CONFIG_BYTES_MAX = 1024 * 1024;

/** How the policy is found, for the help of every command. */
export const LOOKUP = `The policy is --policy, else COUNTERSIGN_POLICY, else the "policy:" of the configuration file (--config,
else COUNTERSIGN_CONFIG, else ./countersign.yaml, else the devstack's .state/countersign.yaml).`;

export interface PolicyFlags {
  readonly policy?: string;
  readonly config?: string;
}

/**
 * The files of the policy that is meant, under paths that are short where the command was started.
 *
 * @throws GatewayError POLICY_INVALID when none is named anywhere, or it cannot be read
 */
export function findPolicyFiles(flags: PolicyFlags, io: CommandIo): PolicyFile[] {
  const path = resolve(io.cwd, findPolicyPath(flags, io));
  return loadPolicyFiles(path).map(({ path: file, text }) => ({ path: shortPath(file, io.cwd), text }));
}

/** @throws GatewayError POLICY_INVALID with every mistake, when it cannot be used to answer anything */
export function findPolicy(flags: PolicyFlags, io: CommandIo): Policy {
  const parsed = parsePolicy(findPolicyFiles(flags, io));
  if (parsed.ok) return parsed.policy;
  throw new GatewayError("POLICY_INVALID", mistakesText(parsed.mistakes));
}

export function mistakesText(mistakes: readonly Mistake[]): string {
  return mistakes.map(formatMistake).join("\n");
}

function findPolicyPath(flags: PolicyFlags, io: CommandIo): string {
  const named = flags.policy ?? io.env.COUNTERSIGN_POLICY;
  if (named) return named;
  const config = flags.config ?? io.env.COUNTERSIGN_CONFIG;
  const candidates = config ? [config] : ["countersign.yaml", ".state/countersign.yaml"];
  for (const candidate of candidates) {
    const file = resolve(io.cwd, candidate);
    const text = config === undefined || config === "" ? readIfThere(file) : readConfig(file);
    if (text !== undefined) return resolve(dirname(file), policyKeyOf(file, text));
  }
  throw new GatewayError("POLICY_INVALID", `Cannot find the policy: nothing names one. ${LOOKUP}`);
}

/** Only the one key: what else the configuration says is for those who need it. */
function policyKeyOf(file: string, text: string): string {
  const policy: unknown = parseDocument(text, { prettyErrors: false }).get("policy");
  if (typeof policy === "string" && policy !== "") return policy;
  throw new GatewayError("POLICY_INVALID", `Cannot find the policy: "${file}" has no "policy: PATH"`);
}

function readIfThere(file: string): string | undefined {
  try {
    return readConfig(file);
  } catch (error) {
    const cause = error instanceof Error ? (error.cause as NodeJS.ErrnoException | undefined) : undefined;
    if (cause?.code === "ENOENT") return undefined;
    throw error;
  }
}

function readConfig(file: string): string {
  try {
    const { size } = statSync(file);
    if (size > CONFIG_BYTES_MAX)
      throw new Error(`it has ${size} bytes, at most ${CONFIG_BYTES_MAX} are read`);
    return readFileSync(file, "utf8");
  } catch (cause) {
    const why = fileFaultOf(cause);
    throw new GatewayError("CONFIG_INVALID", `Cannot read the configuration "${file}": ${why}`, { cause });
  }
}

function shortPath(file: string, cwd: string): string {
  const short = relative(cwd, file);
  return short.startsWith("..") ? file : short.replaceAll("\\", "/");
}
