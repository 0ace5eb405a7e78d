import { Command } from "commander";
import { GatewayError } from "../errors.ts";
import { parseAction } from "../policy/action.ts";
import { type Change, diffPolicies, type PolicyDiff } from "../policy/diff.ts";
import { coloured, type Paint, plain } from "../policy/paint.ts";
import { type WhoCan, whoCan } from "../policy/who-can.ts";
import { type CommandIo, EXIT } from "./io.ts";
import { findPolicy, type PolicyFlags } from "./policy-source.ts";

/** `countersign policy diff OLD NEW` */
export function diffCommand(io: CommandIo): Command {
  return new Command("diff")
    .description("compare two policies by what they let people do, not by their text")
    .argument("<old>", "a policy file, or a folder of *.yaml")
    .argument("<new>", "another")
    .option("--json", "print the answer as JSON")
    .addHelpText(
      "after",
      `
+ marks what makes the new policy wider, - what makes it narrower. Templates such as {region} stand for themselves.

Exits with 0 when nobody may do more under the new one, 3 when somebody may, 2 when one cannot be used.

Example:
  countersign policy diff policy/ ../proposed/policy/`,
    )
    .action((before: string, after: string, { json }: { readonly json?: boolean }) => {
      const diff = diffPolicies(findPolicy({ policy: before }, io), findPolicy({ policy: after }, io));
      io.exit(diff.wider ? EXIT.wider : EXIT.yes);
      io.out(json ? `${JSON.stringify(diff)}\n` : diffText(diff, io.colours ? coloured : plain));
    });
}

/** `countersign policy who-can ACTION` */
export function whoCanCommand(io: CommandIo): Command {
  return new Command("who-can")
    .description("name the roles and conditions that reach an action")
    .option("--policy <path>", "the policy: a file, or a folder of *.yaml")
    .option("--config <path>", "the configuration file that names it")
    .option("--json", "print the answer as JSON")
    .argument("<action...>", "a verb and its object, as policy explain takes it")
    .addHelpText(
      "after",
      `
Exits with 0 when somebody can, 1 when nobody can, 2 when there is no such action.

Example:
  countersign policy who-can publish orders.eu.1.create`,
    )
    .action((words: readonly string[], flags: PolicyFlags & { readonly json?: boolean }) => {
      const text = words.join(" ");
      const action = parseAction(text);
      if (!action.ok) {
        const why = action.refusal.reason === "request_invalid" ? action.refusal.why : action.refusal.reason;
        throw new GatewayError("POLICY_INVALID", `Cannot read the action "${text}": it ${why}`);
      }
      const found = whoCan(findPolicy(flags, io), action.value);
      io.exit(found.reaches.length > 0 ? EXIT.yes : EXIT.no);
      io.out(flags.json ? `${JSON.stringify(found)}\n` : whoCanText(found, io.colours ? coloured : plain));
    });
}

const WHAT: Readonly<Record<Change["what"], string>> = {
  gained: "may",
  lost: "may no longer",
  forbidden: "never",
  "no-longer-forbidden": "no longer never",
  given: "given to",
  taken: "no longer given to",
  limit: "limits:",
  "acts-for": "",
};

function diffText({ wider, roles }: PolicyDiff, paint: Paint): string {
  const lines = roles.flatMap(({ role, changes }) => [
    paint("bold", role === undefined ? "everybody" : `role ${role}`),
    ...changes.map((change) => {
      const text = `${change.wider ? "+" : "-"} ${WHAT[change.what]} ${change.text}`.replace("  ", " ");
      return `  ${paint(change.wider ? "red" : "green", text)}`;
    }),
  ]);
  const verdict = wider ? paint("red", "wider") : paint("green", "not wider");
  return `${[...lines, roles.length === 0 ? "no difference in what anybody may do" : verdict].join("\n")}\n`;
}

function whoCanText({ reaches, never }: WhoCan, paint: Paint): string {
  const place = ({ file, line }: { file: string; line: number }): string => paint("dim", `${file}:${line}`);
  const lines = reaches.flatMap(({ role, rule, givenTo, actsFor, where }) => [
    `${paint("bold", `role ${role}`)}  ${rule.text}  ${place(rule)}`,
    ...where.map(({ name, value }) => `  where {${name}} is ${value}`),
    ...(actsFor.length > 0 ? [`  acting for a user with ${actsFor.join(" or ")} who may do it too`] : []),
    ...(givenTo.length > 0 ? givenTo.map((given) => `  given to ${given}`) : ["  given to nobody"]),
  ]);
  const forbidden = never.map(({ role, text, ...rule }) => {
    const whom = role === undefined ? "everybody" : `whoever has role ${role}`;
    return `${paint("red", "never")}  ${text}  forbids it to ${whom}  ${place(rule)}`;
  });
  const all = [...lines, ...forbidden];
  return `${(reaches.length > 0 ? all : [...all, "nobody"]).join("\n")}\n`;
}
