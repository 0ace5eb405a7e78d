import assert from "node:assert/strict";
import { Command, CommanderError } from "commander";
import { GatewayError } from "../../errors.ts";
import { iisCommand } from "../iis.ts";
import { EXIT, type ExitCode } from "../io.ts";

export interface Ran {
  readonly out: string;
  readonly err: string;
  readonly code: ExitCode;
}

export interface RunOptions {
  readonly cwd: string;
  /** What somebody at the terminal answers, in order; absent: nobody is there. */
  readonly answers?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly stdin?: string;
}

/** Runs `countersign iis …` in this process, with errors reported as main.ts reports them. */
export async function runIis(args: readonly string[], options: RunOptions): Promise<Ran> {
  const { cwd, answers, env = {}, stdin } = options;
  const left = [...(answers ?? [])];
  const said = { out: "", err: "", code: EXIT.yes as ExitCode };
  const out = (text: string): void => {
    said.out += text;
  };
  const err = (text: string): void => {
    said.err += text;
  };
  const program = new Command("countersign");
  program.addCommand(
    iisCommand({
      out,
      err,
      stdin: async () => Buffer.from(stdin ?? assert.fail("nothing is read from standard input")),
      ...(answers && {
        ask: async (question: string) => {
          said.err += `${question}\n`;
          return left.shift() ?? assert.fail(`nobody answers: ${question}`);
        },
      }),
      terminal: false,
      colours: false,
      env,
      cwd,
      clock: () => 1_790_000_000,
      exit: (code) => {
        said.code = code;
      },
      onHangup: () => {},
      signal: new AbortController().signal,
    }),
  );
  settle(program);
  try {
    await program.parseAsync(["iis", ...args], { from: "user" });
  } catch (error) {
    if (error instanceof CommanderError)
      return { ...said, code: error.exitCode === 0 ? EXIT.yes : EXIT.usage };
    if (!(error instanceof GatewayError)) throw error;
    const code = error.code === "CONFIG_INVALID" ? EXIT.usage : EXIT.no;
    return { ...said, err: `${said.err}${error.message}\n`, code };
  }
  return said;

  function settle(command: Command): void {
    command.exitOverride().configureOutput({ writeOut: out, writeErr: err, getOutHelpWidth: () => 80 });
    for (const child of command.commands) settle(child);
  }
}
