#!/usr/bin/env node
import { styleText } from "node:util";
import { CommanderError } from "commander";
import { type CommandIo, EXIT } from "./cli/io.ts";
import { createProgram } from "./cli/program.ts";
import { GatewayError } from "./errors.ts";

const controller = new AbortController();
// The first Ctrl-C asks to end well; the second is the operator's patience running out.
for (const name of ["SIGINT", "SIGTERM"] as const) {
  process.on(name, () => {
    if (controller.signal.aborted) process.exit(EXIT.no);
    controller.abort();
  });
}
// A reader that closes the pipe (`countersign … | head`) has what it wanted.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  process.exit(error.code === "EPIPE" ? EXIT.yes : EXIT.no);
});

const io: CommandIo = {
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
  stdin: readStdin,
  ...(process.stdin.isTTY === true && process.stderr.isTTY === true && { ask }),
  terminal: process.stderr.isTTY === true,
  colours: process.stdout.isTTY === true && styleText("red", "x", { stream: process.stdout }) !== "x",
  env: process.env,
  cwd: process.cwd(),
  clock: () => Date.now() / 1000,
  exit: (code) => {
    process.exitCode = code;
  },
  onHangup: (listener) => {
    process.on("SIGHUP", listener);
  },
  signal: controller.signal,
};

try {
  await createProgram(io).parseAsync(process.argv);
} catch (error) {
  process.exitCode = report(error);
}

function report(error: unknown): number {
  // commander has printed what it had to say, and gives 1 for every usage error; help and version give 0.
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.yes : EXIT.usage;
  if (error instanceof GatewayError) {
    io.err(`${error.message}\n`);
    return error.code === "CONFIG_INVALID" || error.code === "POLICY_INVALID" ? EXIT.usage : EXIT.no;
  }
  io.err(
    `countersign: a fault of its own, please report it: ${error instanceof Error ? error.stack : String(error)}\n`,
  );
  return EXIT.no;
}

async function ask(question: string): Promise<string> {
  const { createInterface } = await import("node:readline/promises");
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return await lines.question(question, { signal: controller.signal });
  } finally {
    lines.close();
  }
}

async function readStdin(bytesMax: number): Promise<Buffer> {
  if (process.stdin.isTTY) io.err("Reading standard input; end it with Ctrl-D (Windows: Ctrl-Z, Enter).\n");
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > bytesMax)
      throw new GatewayError("CONFIG_INVALID", `Cannot read standard input: over ${bytesMax} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
