import { open } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { LineCounter, parseDocument } from "yaml";
import { fileFaultOf, GatewayError } from "../errors.ts";
import type { Config } from "./config.ts";
import { type LocalConfig, localIn } from "./local.ts";
import {
  fallbackText,
  type Mistake,
  mistakesOfKeys,
  mistakesOfSchema,
  mistakesOfYaml,
  tooDeep,
} from "./mistakes.ts";
import { configSchema } from "./schema.ts";

/** A thousand times a long one. */
const FILE_BYTES_MAX = 1_048_576;

export type ParsedConfig =
  | { readonly ok: true; readonly config: Config }
  | {
      readonly ok: false;
      readonly mistakes: readonly Mistake[];
      /** What can be looked at all the same. */
      readonly local: LocalConfig;
    };

/**
 * Parses a configuration file. Reports every mistake at once.
 *
 * @param options.file   where the text comes from: for messages, and relative paths start at its folder
 * @param options.env    for `{ env: NAME }`; default the process's own
 * @param options.probe  reads every secret and certificate once, and reports those it cannot; default false
 */
export function parseConfig(
  text: string,
  options: {
    readonly file: string;
    readonly env?: Readonly<Record<string, string | undefined>>;
    readonly probe?: boolean;
  },
): ParsedConfig {
  const { env = process.env, probe = false } = options;
  const file = resolve(options.file);
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const place = { file: options.file, document, lines };
  if (document.errors.length > 0) return unreadable(mistakesOfYaml(place));
  let value: unknown;
  try {
    const keys = mistakesOfKeys(place);
    if (keys.length > 0) return unreadable(keys);
    value = document.toJS();
  } catch {
    // An alias bomb, or nesting that no configuration has.
    return unreadable([tooDeep(place)]);
  }
  const context = { base: dirname(file), env, probe };
  const parsed = configSchema(context).safeParse(value, { error: fallbackText });
  if (parsed.success) return { ok: true, config: { file, ...parsed.data } };
  const mistakes = mistakesOfSchema(parsed.error.issues, place);
  return { ok: false, mistakes, local: localIn(value, context) };
}

function unreadable(mistakes: readonly Mistake[]): ParsedConfig {
  return { ok: false, mistakes, local: { issuerNames: [], auditFiles: [] } };
}

/**
 * Loads the configuration, and reads every secret and certificate it names once.
 *
 * @throws GatewayError CONFIG_INVALID, with every mistake on a line of its own: `file:line:column: what`
 */
export async function loadConfig(path: string): Promise<Config> {
  const parsed = await readConfig(path);
  if (parsed.ok) return parsed.config;
  throw new GatewayError("CONFIG_INVALID", formatMistakes(path, parsed.mistakes));
}

/**
 * As `loadConfig`, for whoever goes on after a mistake.
 *
 * @throws GatewayError CONFIG_INVALID when the file cannot be read
 */
export async function readConfig(path: string): Promise<ParsedConfig> {
  return parseConfig(await readBounded(path), { file: path, probe: true });
}

/** Each mistake on a line of its own, under one that says whose they are. */
export function formatMistakes(path: string, mistakes: readonly Mistake[]): string {
  const count = mistakes.length === 1 ? "1 mistake" : `${mistakes.length} mistakes`;
  return [`Cannot use the configuration "${path}": ${count}`, ...mistakes.map(formatMistake)].join("\n");
}

export function formatMistake({ file, line, column, text }: Mistake): string {
  return `${file}:${line}:${column}: ${text}`;
}

async function readBounded(path: string): Promise<string> {
  try {
    await using file = await open(path, "r");
    const { size } = await file.stat();
    if (size > FILE_BYTES_MAX) throw new Error(`more than ${FILE_BYTES_MAX} bytes`);
    return await file.readFile("utf8");
  } catch (error) {
    throw new GatewayError(
      "CONFIG_INVALID",
      `Cannot read the configuration "${path}": ${fileFaultOf(error)}`,
      {
        cause: error,
      },
    );
  }
}
