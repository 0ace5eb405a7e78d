import { once } from "node:events";
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { Command } from "commander";
import { examineLocal } from "../compose/examine-local.ts";
import type { Config } from "../config/config.ts";
import { formatMistakes, loadConfig, readConfig } from "../config/load.ts";
import { localOf } from "../config/local.ts";
import { GatewayError, messageOf } from "../errors.ts";
import { startGateway } from "../gateway.ts";
import { createLog } from "../log.ts";
import { PLACEHOLDER_ISSUER } from "./init-starters.ts";
import { type CommandIo, EXIT } from "./io.ts";

/** Looked for where the command is started. */
export const DEFAULT_CONFIG_FILE = "countersign.yaml";

/** `countersign serve`: runs the gateway until it is told to end. */
export function serveCommand(io: CommandIo): Command {
  return new Command("serve")
    .description("run the gateway")
    .option("--config <file>", "the configuration file", io.env.COUNTERSIGN_CONFIG ?? DEFAULT_CONFIG_FILE)
    .option("--check", "report every mistake in configuration, policy, keys and files, and end")
    .addHelpText(
      "after",
      `
A changed policy is taken up within two seconds, or at once on SIGHUP; one that does not parse or fails its own
tests never replaces one that works. Ends on Ctrl-C or SIGTERM: requests in flight finish, streams are told to reconnect elsewhere.
While NATS does not answer it waits for half a minute, then ends with 1: have a service manager start it again.
Its own log goes to standard error as JSON lines; the audit log goes where \`audit:\` says.

Example:
  countersign serve --check --config countersign.yaml && countersign serve --config countersign.yaml`,
    )
    .action(async ({ config: file, check }: { config: string; check?: boolean }) => {
      const path = configPath(io, file);
      if (check) await checkAll(io, path);
      else await serve(io, path);
    });
}

/** @throws GatewayError that tells a newcomer where the file comes from */
export function configPath(io: CommandIo, file: string): string {
  const path = resolve(io.cwd, file);
  if (existsSync(path)) return path;
  throw new GatewayError(
    "CONFIG_INVALID",
    `Cannot find the configuration ${path}. Name it with --config or COUNTERSIGN_CONFIG; \`countersign init\` writes one to begin with.`,
  );
}

async function serve(io: CommandIo, path: string): Promise<void> {
  const config = await loadConfig(path);
  const log = createLog(config.log.level, config.log.file);
  const gateway = await startGateway(config, log, io.clock, io.signal).catch((error: unknown) => {
    // Told to end before it had begun: that it did not begin is no failure.
    if (io.signal.aborted) return;
    // What goes to standard error besides may go nowhere.
    if (config.log.file !== undefined) log.fatal({ why: messageOf(error) }, "cannot start");
    throw error;
  });
  if (!gateway) return io.exit(EXIT.yes);
  io.onHangup(() => void gateway.reload());
  if (!io.signal.aborted) await Promise.race([once(io.signal, "abort"), gateway.shutdownAsked]);
  log.info("ending");
  await gateway.close();
  io.exit(EXIT.yes);
}

function placeholderWarnings({ issuers }: Config): readonly string[] {
  return issuers
    .filter(({ url }) => url === PLACEHOLDER_ISSUER)
    .map(({ name, url }) => {
      return `issuer "${name}" is still ${url}, as init wrote it: name your identity provider in its place`;
    });
}

/** Looks at everything on this machine, and only then says what is wrong: all of it. */
async function checkAll(io: CommandIo, path: string): Promise<void> {
  const parsed = await readConfig(path);
  const wrong = parsed.ok ? [] : [formatMistakes(path, parsed.mistakes)];
  const local = parsed.ok ? localOf(parsed.config) : parsed.local;
  const { candidate } = await examineLocal(local, io.clock, ({ ok, found }) => {
    if (!ok) wrong.push(found);
  });
  const placeholders = parsed.ok ? placeholderWarnings(parsed.config) : [];
  for (const warning of [...placeholders, ...(candidate?.warnings ?? [])]) io.err(`warning: ${warning}\n`);
  if (!candidate || wrong.length > 0) throw new GatewayError("CONFIG_INVALID", wrong.join("\n"));
  const { version, roles } = candidate.policy;
  const count = roles.length === 1 ? "1 role" : `${roles.length} roles`;
  io.out(`${path}: ok; policy ${version.slice(0, 12)}, ${count}\n`);
  io.exit(EXIT.yes);
}
