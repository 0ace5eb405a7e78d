import { readdir, readFile, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { styleText } from "node:util";
import { Command } from "commander";
import { fileFaultOf, GatewayError } from "../errors.ts";
import { type ConfigFile, parseConfigFile, type Unread } from "../iis/config/config-file.ts";
import type { SourceFile } from "../iis/config/placement.ts";
import { findingText, type PaintSeverity, summaryText } from "../iis/doctor/doctor-text.ts";
import { type Examined, examineConfigs } from "../iis/doctor/examine.ts";
import { doctorThrough, type ThroughFlags } from "./iis-through.ts";
import { type CommandIo, EXIT } from "./io.ts";

interface Flags extends Partial<ThroughFlags> {
  readonly site?: string;
  readonly gateway?: boolean;
}

/** `countersign iis doctor`: says what is wrong in copies of IIS's configuration, on any machine, or in a running site. */
export function iisDoctorCommand(io: CommandIo): Command {
  return new Command("doctor")
    .description("find what is wrong in web.config and applicationHost.config, or in a running site")
    .argument("[paths...]", "files, or folders with web.config or applicationHost.config in them")
    .option("--site <name>", "which application the outermost web.config is of: Site, or Site/bus")
    .option("--gateway", "take every Node process and proxying rule for the gateway, whatever its name")
    .option("--through <url>", "probe the site that runs there, instead of files")
    .option("--token <->", "with --through: - reads an access token from standard input")
    .option("--subject <subject>", "with --through: what the token may subscribe to, to time events")
    .option("--audit <file>", "with --through: the gateway's audit log, to see what arrived")
    .option("--json", "print what was found as JSON")
    .addHelpText("after", HELP)
    .action(async (paths: readonly string[], flags: Flags) => {
      if (paths.length > 0 === (flags.through !== undefined)) {
        throw new GatewayError(
          "CONFIG_INVALID",
          "Cannot examine: expected either paths, or --through with a URL",
        );
      }
      if (flags.through !== undefined) {
        await doctorThrough(io, { ...flags, through: flags.through });
        return;
      }
      const { files, unread } = await readAll(paths, io);
      const examined = examineConfigs(files, {
        ...(flags.site !== undefined && { site: flags.site }),
        assumeGateway: flags.gateway ?? false,
      });
      print(io, { files, unread, examined, json: flags.json ?? false });
      const isClean = examined.findings.every(({ severity }) => severity === "note");
      io.exit(unread.length > 0 ? EXIT.usage : isClean ? EXIT.yes : EXIT.no);
    });
}

const HELP = `
Each finding has its place, why it matters, what would be right, and what the claim rests on: source (public source code
or a schema), documented, reported, inferred, unconfirmed. danger: somebody may pass for somebody else, or learn a secret.
error: it does not work. warning: it works badly. note: nothing is wrong by what was read; notes alone exit with 0.

On the server the files are the site's web.config and %windir%\\System32\\inetsrv\\config\\applicationHost.config; copies
will do, anywhere. With the second one also locked sections, allowed server variables, ARR's settings, pools and logs are
looked at. Keep the folders of nested web.config files: the inner ones inherit from the outer ones.

--through sends what any visitor could: forged headers, a chosen request id, a long query, a WebSocket with compression
offered; and, with a token and --subject, times the first byte of a stream. The gateway tells nobody what arrived beyond
the code of a refusal, so that an address is looked up in its records, with --audit on its own machine. What cannot be
seen is said. The token is read from COUNTERSIGN_TOKEN, or with --token - from standard input; never from an argument.

Exits with 0 when nothing is wrong, 1 when something is, 2 when a file cannot be read or nobody answers.

Examples:
  countersign iis doctor web.config
  countersign iis doctor C:\\inetpub\\bus %windir%\\System32\\inetsrv\\config\\applicationHost.config
  countersign iis doctor copies/ --site "Default Web Site/bus" --json
  countersign iis doctor --through https://bus.example.com --subject 'orders.>'`;

const NAMES: ReadonlySet<string> = new Set(["web.config", "applicationhost.config"]);

async function readAll(
  paths: readonly string[],
  io: CommandIo,
): Promise<{ readonly files: readonly SourceFile[]; readonly unread: readonly Unread[] }> {
  const files: SourceFile[] = [];
  const unread: Unread[] = [];
  for (const path of (await Promise.all(paths.map((each) => filesAt(each, io)))).flat()) {
    const read = await readOne(path, io);
    if ("why" in read) unread.push(read);
    else files.push({ config: read, folder: dirname(resolve(io.cwd, path)) });
  }
  return { files, unread };
}

/** A folder stands for the files of these names in it. */
async function filesAt(path: string, io: CommandIo): Promise<readonly string[]> {
  const found = await stat(resolve(io.cwd, path)).catch((error: unknown) => {
    throw new GatewayError("CONFIG_INVALID", `Cannot read ${path}: ${fileFaultOf(error)}`);
  });
  if (!found.isDirectory()) return [path];
  const names = (await readdir(resolve(io.cwd, path))).filter((name) => NAMES.has(name.toLowerCase()));
  if (names.length > 0) return names.sort().map((name) => join(path, name));
  throw new GatewayError(
    "CONFIG_INVALID",
    `Cannot examine ${path}: expected web.config or applicationHost.config in it, found neither`,
  );
}

async function readOne(path: string, io: CommandIo): Promise<ConfigFile | Unread> {
  try {
    return parseConfigFile(path, await readFile(resolve(io.cwd, path)));
  } catch (error) {
    return { file: path, why: fileFaultOf(error) };
  }
}

interface Outcome {
  readonly files: readonly SourceFile[];
  readonly unread: readonly Unread[];
  readonly examined: Examined;
  readonly json: boolean;
}

function print(io: CommandIo, { files, unread, examined, json }: Outcome): void {
  for (const { file, why, at } of unread) {
    io.err(`Cannot read ${file}${at ? `:${at.line}:${at.column}` : ""}: ${why}\n`);
  }
  const { findings } = examined;
  if (json) {
    const ok = unread.length === 0 && findings.every(({ severity }) => severity === "note");
    const names = files.map(({ config }) => config.file);
    io.out(`${JSON.stringify({ ok, files: names, unread, truncated: examined.truncated, findings })}\n`);
    return;
  }
  const paint: PaintSeverity = (severity, text) => (io.colours ? styleText(COLOURS[severity], text) : text);
  for (const finding of findings) io.out(`${findingText(finding, paint)}\n`);
  if (files.length > 0) io.out(`${summaryText(examined, files.length)}\n`);
}

const COLOURS = { danger: "red", error: "red", warning: "yellow", note: "dim", right: "green" } as const;
