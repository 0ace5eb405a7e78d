import { randomBytes } from "node:crypto";
import { resolve } from "node:path";
import { styleText } from "node:util";
import { Command, Option } from "commander";
import { deployFiles } from "../iis/deploy/files.ts";
import {
  DEFAULTS,
  parseBehind,
  parsePublicUrl,
  parseSignIn,
  parseWish,
  type RawWish,
} from "../iis/deploy/parse-wish.ts";
import { BEHIND, type DeploySecrets, FILES, SIGN_IN } from "../iis/deploy/wish.ts";
import { type Placed, placeFile, readModuleSource, readSecret } from "./iis-files.ts";
import { type CommandIo, EXIT } from "./io.ts";

interface Flags extends RawWish {
  readonly out: string;
  readonly force?: boolean;
  readonly json?: boolean;
}

/** `countersign iis init`: writes everything that a deployment behind IIS is made of. Replaces nothing unasked. */
export function iisInitCommand(io: CommandIo): Command {
  return new Command("init")
    .description(
      "write a deployment behind IIS: web.config, server scripts, the module, secrets, a checklist",
    )
    .addOption(new Option("--behind <host>", "who hands requests to the gateway").choices(BEHIND))
    .addOption(
      new Option("--sign-in <how>", "who signs users in: Windows, the gateway, or certificates").choices(
        SIGN_IN,
      ),
    )
    .option("--public-url <url>", "where callers find it; its path is the application's")
    .option("--site <name>", 'of IIS; default: Countersign, or "Default Web Site" where the URL has a path')
    .option("--pool <name>", "the application pool", DEFAULTS.pool)
    .option("--folder <path>", "where all of it will lie on the server", DEFAULTS.folder)
    .option("--node <path>", "node.exe on the server", DEFAULTS.node)
    .option("--port <port>", "of 127.0.0.1, where the gateway listens behind ARR", DEFAULTS.port)
    .option("--origin <origin>", "of pages elsewhere that call the gateway; repeatable", several)
    .option(
      "--group <name>",
      "with Windows: a group that the policy is about; repeatable; none: all are sent",
      several,
    )
    .option("--out <folder>", "where to write", "iis")
    .option("--force", "replace files that differ; never secrets")
    .option("--json", "print the result as JSON")
    .addHelpText("after", HELP)
    .action(async (flags: Flags) => {
      const wish = parseWish(await completed(flags, io));
      const out = resolve(io.cwd, flags.out);
      const files = deployFiles(wish, await secretsIn(out), await readModuleSource());
      const placed: Placed[] = [];
      for (const file of files) placed.push(await placeFile(out, file, flags.force ?? false));
      const differs = placed.some(({ state }) => state === "differs");
      io.exit(differs ? EXIT.no : EXIT.yes);
      io.out(flags.json ? `${jsonOf(placed)}\n` : textOf(placed, flags.out, io.colours));
    });
}

const HELP = `
On a terminal it asks for what the first three options do not say. Nothing is installed or changed but files in one
folder, which is then copied to the server; CHECKLIST.md there has the steps in their order, and how to see that each is
done. Secrets are made once, readable to you alone, and never printed.

  --behind iis-ancm     ASP.NET Core Module V2 starts the gateway. Take this unless ARR is there already.
  --behind iis-arr      the gateway is a Windows service, and ARR with URL Rewrite hands requests to it.
  --sign-in windows     IIS signs users in; a small module, which IIS compiles, tells the gateway who they are.
  --sign-in oidc        the gateway signs users in, or takes their tokens: IIS lets everybody through.
  --sign-in certificates  IIS asks for client certificates.

Run it again at any time: it writes what is missing, and shows what differs from what it would write, which it replaces
only with --force.

Exits with 0 when everything is as it would write it, 1 when something differs and was kept, 2 for usage.

Examples:
  countersign iis init --behind iis-ancm --sign-in windows --public-url https://bus.example.com
  countersign iis init --behind iis-arr --sign-in oidc --public-url https://apps.example.com/bus --site Apps --out bus
  countersign iis doctor iis/site`;

function several(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}

/** Asks for what is missing, where somebody can answer. */
async function completed(flags: Flags, io: CommandIo): Promise<RawWish> {
  const { ask } = io;
  if (!ask) return flags;
  const behind =
    flags.behind ??
    (await askUntil(
      ask,
      io,
      `Who hands requests to the gateway? ${BEHIND.join(" or ")} [iis-ancm] `,
      "iis-ancm",
      parseBehind,
    ));
  const signIn =
    flags.signIn ??
    (await askUntil(ask, io, `Who signs users in? ${SIGN_IN.join(", ")} [windows] `, "windows", parseSignIn));
  const publicUrl =
    flags.publicUrl ??
    (await askUntil(ask, io, "Where do callers find it? https://bus.example.com ", "", parsePublicUrl));
  return { ...flags, behind, signIn, publicUrl };
}

/** Whoever answers wrongly a few times over is no person. */
const ANSWERS_MAX = 5;

async function askUntil(
  ask: NonNullable<CommandIo["ask"]>,
  io: CommandIo,
  question: string,
  byDefault: string,
  parse: (text: string) => string,
): Promise<string> {
  for (let asked = 1; ; asked += 1) {
    const answer = (await ask(question)).trim() || byDefault;
    try {
      return parse(answer);
    } catch (error) {
      if (asked === ANSWERS_MAX || !(error instanceof Error)) throw error;
      io.err(`${error.message}\n`);
    }
  }
}

/** Those that are there already, or new ones. */
async function secretsIn(out: string): Promise<DeploySecrets> {
  return {
    key: (await readSecret(out, FILES.key)) ?? randomBytes(32).toString("base64"),
    proof: (await readSecret(out, FILES.proof)) ?? randomBytes(32).toString("base64url"),
  };
}

function jsonOf(placed: readonly Placed[]): string {
  const files = placed.map(({ path, state, diff }) => ({ path, state, ...(diff.length > 0 && { diff }) }));
  return JSON.stringify({ ok: placed.every(({ state }) => state !== "differs"), files });
}

const STATES = {
  written: "Written",
  unchanged: "As it was",
  replaced: "Replaced, because of --force",
  differs: "Kept, though it differs from what would be written",
} as const;

function textOf(placed: readonly Placed[], out: string, colours: boolean): string {
  const width = Math.max(...placed.map(({ path }) => path.length));
  const parts = Object.entries(STATES).map(([state, title]) => {
    const files = placed.filter((file) => file.state === state);
    if (files.length === 0) return "";
    const lines = files.map(({ path, what, diff }) =>
      [`  ${path.padEnd(width)}  ${what}`, ...diff.map((line) => `      ${painted(line, colours)}`)].join(
        "\n",
      ),
    );
    return `${title}:\n${lines.join("\n")}\n\n`;
  });
  const differs = placed.some(({ state }) => state === "differs");
  const next = differs
    ? "- stands there, + would be written. To have it written: --force.\n"
    : `Go on with ${out}/${FILES.checklist}.\n`;
  return parts.join("") + next;
}

function painted(line: string, colours: boolean): string {
  if (!colours) return line;
  return styleText(line.startsWith("+") ? "green" : "red", line);
}
