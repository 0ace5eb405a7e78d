import { styleText } from "node:util";
import { Command } from "commander";
import { examine } from "../compose/examine.ts";
import type { Examined } from "../compose/examine-local.ts";
import { loadConfig } from "../config/load.ts";
import { type CommandIo, EXIT } from "./io.ts";
import { configPath, DEFAULT_CONFIG_FILE } from "./serve.ts";

/** `countersign doctor`: looks at everything the gateway needs and says how to mend what is wrong. */
export function doctorCommand(io: CommandIo): Command {
  return new Command("doctor")
    .description(
      "look at everything the gateway needs: policy, keys, files, issuers, NATS, clock; with remedies",
    )
    .option("--config <file>", "the configuration file", io.env.COUNTERSIGN_CONFIG ?? DEFAULT_CONFIG_FILE)
    .option("--json", "print the findings as one JSON array")
    .addHelpText(
      "after",
      `
Changes nothing but the gateway's own empty streams in CONTROL. Exits with 0 when all is well, 1 when not.

Example:
  countersign doctor --config countersign.yaml`,
    )
    .action(async ({ config: file, json = false }: { config: string; json?: boolean }) => {
      const config = await loadConfig(configPath(io, file));
      const findings: Examined[] = [];
      await examine(config, io.clock, (examined) => {
        findings.push(examined);
        if (!json) io.out(lineOf(examined, io.colours));
      });
      if (json) io.out(`${JSON.stringify(findings)}\n`);
      io.exit(findings.every(({ ok }) => ok) ? EXIT.yes : EXIT.no);
    });
}

function lineOf({ check, ok, found, remedy }: Examined, colours: boolean): string {
  const mark = ok ? "ok   " : "WRONG";
  const painted = colours ? styleText(ok ? "green" : "red", mark) : mark;
  const [first = "", ...rest] = found.split("\n");
  const lines = [`${painted}  ${check.padEnd(16)}  ${first}`, ...rest.map((line) => `       ${line}`)];
  if (!ok) lines.push(`       → ${remedy}`);
  return `${lines.join("\n")}\n`;
}
