import assert from "node:assert/strict";
import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { ANONYMOUS_PATHS, type Behind, FILES } from "countersign/iis/deploy/wish.ts";
import { parse, stringify } from "yaml";
import { startTestStack, type TestStack } from "./support.ts";
import { buildInto, runCommand } from "./support-operations.ts";

/** Where the generator's `<location>`s let everybody in, from the root of the site. */
export const ANONYMOUS: readonly string[] = ANONYMOUS_PATHS.map((path) => `/${path}`);
/** Of pages elsewhere. */
export const PORTAL = "https://portal.example";

/** A stack without a gateway, whose folder has what `countersign iis init` writes for it. */
export interface Deployment {
  readonly stack: TestStack;
  /** Of the site and its pool. */
  readonly name: string;
  /** The identity module's. */
  readonly key: string;
  /** The rewrite rule's; undefined where there is none. */
  readonly proof: string | undefined;
}

/**
 * Writes a deployment as an administrator does by its checklist: `iis init` into the folder where everything lies, and
 * its part of countersign.yaml in the place of the keys of the same names.
 *
 * @param port  of the gateway, behind ARR
 */
export async function writeDeployment(behind: Behind, port: number, policy: string): Promise<Deployment> {
  const stack = await startTestStack({ gateway: false, policy, auditFile: join("logs", "audit.jsonl") });
  const { stateDir: folder, gatewayUrl, configFile } = stack;
  const name = `countersign-${new URL(gatewayUrl).port}`;
  const wish = ["--behind", behind, "--sign-in", "windows", "--public-url", gatewayUrl, "--origin", PORTAL];
  const names = ["--site", name, "--pool", name, "--port", String(port), "--out", folder];
  const places = process.platform === "win32" ? ["--folder", folder, "--node", process.execPath] : [];
  const { code, out, err } = await runCommand(["iis", "init", ...wish, ...names, ...places]);
  assert.equal(code, 0, out + err);
  const read = (path: string): Promise<string> => readFile(join(folder, path), "utf8");
  const given = parse(await readFile(configFile, "utf8"));
  const written = parse(await read(FILES.gatewayConfig));
  const issuers = { ...given.issuers, ...written.issuers };
  // All in the folder: elsewhere the pool's account need not have any rights.
  await cp(given.demo, join(folder, "demo.html"));
  await writeFile(configFile, stringify({ ...given, ...written, issuers, demo: "demo.html" }));
  // As the server's script does.
  await mkdir(join(folder, "logs"), { recursive: true });
  const proof = behind === "iis-arr" ? (await read(FILES.proof)).trim() : undefined;
  return { stack, name, key: (await read(FILES.key)).trim(), proof };
}

/** Puts the gateway there as it is released, where the generator's web.config and service look for it. */
export async function deployProgram({ stack: { stateDir } }: Deployment): Promise<string> {
  await cp(dirname(await buildInto(join(stateDir, "built"))), stateDir, { recursive: true });
  return join(stateDir, "countersign.js");
}
