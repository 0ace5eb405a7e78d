import { Command } from "commander";
import { VERSION } from "../version.ts";
import { doctorCommand } from "./doctor.ts";
import { iisCommand } from "./iis.ts";
import { initCommand } from "./init.ts";
import type { CommandIo } from "./io.ts";
import { kickCommand } from "./kick.ts";
import { policyCommand } from "./policy.ts";
import { revokeCommand } from "./revoke.ts";
import { serveCommand } from "./serve.ts";
import { traceCommand } from "./trace.ts";
import { verifyCommand } from "./verify.ts";
import { whoamiCommand } from "./whoami.ts";

/** The `countersign` command: one file per subcommand, one line here. */
export function createProgram(io: CommandIo): Command {
  const program = new Command("countersign")
    .description("NATS behind your web sign-in: every user their own permissions, every message signed")
    .version(VERSION)
    .addHelpText(
      "after",
      `
Exit codes: 0 yes, 1 no or failed, 2 usage or unreadable input, 3 (policy diff) wider.
Answers go to standard output, progress and errors to standard error.

Example, from nothing to a gateway that runs:
  countersign init --loopback-without-tls
  countersign serve --check && countersign serve`,
    );
  for (const command of [
    serveCommand,
    initCommand,
    doctorCommand,
    policyCommand,
    kickCommand,
    revokeCommand,
    whoamiCommand,
    verifyCommand,
    traceCommand,
    iisCommand,
  ]) {
    program.addCommand(command(io));
  }
  return settle(program, io);
}

/** Subcommands do not inherit these: every one of them must throw rather than exit, and write through `io`. */
function settle(command: Command, io: CommandIo): Command {
  command.showHelpAfterError("Try --help for how to use it.");
  command.exitOverride().configureOutput({ writeOut: io.out, writeErr: io.err });
  for (const child of command.commands) settle(child, io);
  return command;
}
