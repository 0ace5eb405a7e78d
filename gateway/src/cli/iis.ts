import { Command } from "commander";
import { iisDoctorCommand } from "./iis-doctor.ts";
import { iisInitCommand } from "./iis-init.ts";
import type { CommandIo } from "./io.ts";

/** `countersign iis …`: what has to do with IIS in front. */
export function iisCommand(io: CommandIo): Command {
  const command = new Command("iis").description("deploy behind IIS, and find what is wrong there");
  for (const make of [iisInitCommand, iisDoctorCommand]) command.addCommand(make(io));
  return command.addHelpText(
    "after",
    `
Examples:
  countersign iis init --behind iis-ancm --sign-in windows --public-url https://bus.example.com
  countersign iis doctor web.config`,
  );
}
