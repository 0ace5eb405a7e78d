import { Command } from "commander";
import { iisDoctorCommand } from "./iis-doctor.ts";
import type { CommandIo } from "./io.ts";

/** `countersign iis …`: what has to do with IIS in front. */
export function iisCommand(io: CommandIo): Command {
  const command = new Command("iis").description("deploy behind IIS, and find what is wrong there");
  for (const make of [iisDoctorCommand]) command.addCommand(make(io));
  return command.addHelpText(
    "after",
    `
Example:
  countersign iis doctor web.config`,
  );
}
