import { Command } from "commander";
import { GatewayError } from "../errors.ts";
import type { Identity } from "../identity/identity.ts";
import { type Action, parseAction } from "../policy/action.ts";
import { compileGrant } from "../policy/compile.ts";
import { explain, formatGrantLine } from "../policy/explain.ts";
import { renderExplanation } from "../policy/explain-text.ts";
import { VERB_FORMS } from "../policy/line.ts";
import { findNamed, identityOf } from "../policy/named.ts";
import { coloured, type Paint, plain } from "../policy/paint.ts";
import { parsePolicy } from "../policy/parse.ts";
import { permissionsOf } from "../policy/permissions.ts";
import { formatMistake, type Policy } from "../policy/policy.ts";
import { runPolicyTests, type TestResult } from "../policy/run-tests.ts";
import { explainLive } from "./explain-live.ts";
import { defaultGatewayUrl, TOKEN_HELP } from "./gateway-call.ts";
import { type CommandIo, EXIT } from "./io.ts";
import { diffCommand, whoCanCommand } from "./policy-compare.ts";
import { pushCommand } from "./policy-push.ts";
import { findPolicy, findPolicyFiles, LOOKUP, type PolicyFlags } from "./policy-source.ts";

interface Flags extends PolicyFlags {
  readonly json?: boolean;
}

interface AsFlags extends Flags {
  readonly as: string;
}

const ACTIONS = `An action is a verb, then its object, unquoted but for what the shell would take itself (* and >):
${Object.values(VERB_FORMS)
  .map((form) => `  ${form}`)
  .join("\n")}`;

/** `countersign policy …`: asks a policy file, without a server; `push` alone hands it to one. */
export function policyCommand(io: CommandIo): Command {
  const command = new Command("policy").description("check a policy and ask it who may do what, and why");
  for (const make of [
    checkCommand,
    testCommand,
    explainCommand,
    whoCanCommand,
    grantsCommand,
    diffCommand,
    pushCommand,
    schemaCommand,
  ]) {
    command.addCommand(make(io));
  }
  return command.addHelpText(
    "after",
    `
${LOOKUP}

Examples:
  countersign policy check policy/
  countersign policy explain --as bob publish orders.eu.1.create
  countersign policy diff policy/ ../proposed/policy/`,
  );
}

function checkCommand(io: CommandIo): Command {
  return withPolicy(new Command("check"))
    .description("find every mistake in a policy, with its place and what would be right")
    .argument("[path]", "a policy file, or a folder of *.yaml; default: the policy of the configuration")
    .addHelpText(
      "after",
      `
Exits with 0 when it can be used (warnings or none), 1 when it has mistakes, 2 when it cannot be read.

Examples:
  countersign policy check
  countersign policy check policy/ --json`,
    )
    .action((path: string | undefined, flags: Flags) => {
      const files = findPolicyFiles(path === undefined ? flags : { policy: path }, io);
      const parsed = parsePolicy(files);
      io.exit(parsed.ok ? EXIT.yes : EXIT.no);
      if (flags.json) {
        const { ok } = parsed;
        const said = ok
          ? { version: parsed.policy.version, warnings: parsed.warnings }
          : { mistakes: parsed.mistakes };
        return io.out(`${JSON.stringify({ ok, ...said })}\n`);
      }
      const paint = paintOf(io);
      if (!parsed.ok) {
        for (const mistake of parsed.mistakes)
          io.out(`${paint("red", "mistake")}  ${formatMistake(mistake)}\n`);
        return;
      }
      for (const warning of parsed.warnings)
        io.out(`${paint("yellow", "warning")}  ${formatMistake(warning)}\n`);
      io.out(`${paint("green", "right")}    ${summaryOf(parsed.policy, files.length)}\n`);
    });
}

function testCommand(io: CommandIo): Command {
  return withPolicy(new Command("test"))
    .description("run the tests of a policy")
    .argument("[path]", "a policy file, or a folder of *.yaml; default: the policy of the configuration")
    .addHelpText(
      "after",
      `
Exits with 0 when every test passes, 1 when one fails or there is none, 2 when the policy cannot be used.

Example:
  countersign policy test policy/`,
    )
    .action((path: string | undefined, flags: Flags) => {
      const policy = findPolicy(path === undefined ? flags : { policy: path }, io);
      const results = runPolicyTests(policy, io.clock());
      const failed = results.filter(({ passed }) => !passed);
      const passed = results.length > 0 && failed.length === 0;
      io.exit(passed ? EXIT.yes : EXIT.no);
      if (flags.json) return io.out(`${JSON.stringify({ ok: passed, results })}\n`);
      const paint = paintOf(io);
      for (const result of failed) io.out(`${paint("red", "failed")}  ${failureText(result)}\n`);
      const count = `${results.length - failed.length} of ${results.length} passed`;
      const text = results.length === 0 ? "the policy has no tests" : count;
      io.out(`${passed ? paint("green", "passed") : paint("red", "failed")}  ${text}\n`);
    });
}

function explainCommand(io: CommandIo): Command {
  return withPolicy(new Command("explain"))
    .description("say whether an identity may do something: by which line, or what is missing")
    .option("--as <name>", "whom to ask for: a name of the policy's identities; - is the bearer of a token")
    .option("--at <url>", "ask the gateway there, whose policy is in force, for the bearer of a token")
    .argument("<action...>", "a verb and its object")
    .addHelpText(
      "after",
      `
${ACTIONS}

With --as - or --at a running gateway is asked (default: COUNTERSIGN_URL, else http://127.0.0.1:8480), which shows no
more than the bearer may know.
${TOKEN_HELP}

Exits with 0 when allowed, 1 when refused, 2 when there is no such identity or action, or nobody to ask.

Examples:
  countersign policy explain --as bob publish orders.us.1.create
  countersign policy explain --as carol subscribe 'orders.>'
  npm run -s token -- bob | countersign policy explain --as - publish orders.eu.1.create`,
    )
    .action(async (words: readonly string[], flags: ExplainFlags) => {
      const action = actionOf(words);
      const paint = paintOf(io);
      const { json = false } = flags;
      const { name, at } = askedFor(flags, io);
      if (name === undefined) return io.exit(await explainLive(io, action, { at, json, paint }));
      const policy = findPolicy(flags, io);
      const explanation = explain(policy, namedIn(policy, name, io), action, io.clock());
      io.exit(explanation.outcome === "allowed" ? EXIT.yes : EXIT.no);
      io.out(json ? `${JSON.stringify(explanation)}\n` : renderExplanation(explanation, name, paint));
    });
}

interface ExplainFlags extends Flags {
  readonly as?: string;
  readonly at?: string;
}

/** Whom `explain` asks for: somebody named in a policy file, or the bearer of a token at a gateway, never both. */
function askedFor(
  { as, at, policy, config }: ExplainFlags,
  io: CommandIo,
): { readonly name: string; readonly at?: never } | { readonly name?: never; readonly at: string } {
  const name = as === "-" ? undefined : as;
  const isLive = as === "-" || at !== undefined;
  if (isLive === (name !== undefined)) {
    throw new GatewayError(
      "CONFIG_INVALID",
      "Cannot explain: expected either --as with a name, or --as - or --at",
    );
  }
  if (name !== undefined) return { name };
  if (policy !== undefined || config !== undefined) {
    throw new GatewayError(
      "CONFIG_INVALID",
      "Cannot explain: a gateway has its own policy; leave out --policy and --config",
    );
  }
  return { at: at ?? defaultGatewayUrl(io) };
}

function grantsCommand(io: CommandIo): Command {
  return withPolicy(new Command("grants"))
    .description("print everything an identity may do, and the NATS permissions it compiles to")
    .requiredOption("--as <name>", "whom to ask for: a name of the policy's identities")
    .addHelpText(
      "after",
      `
In the permissions _INBOX.… stands for the inbox of one connection.

Example:
  countersign policy grants --as alice --json`,
    )
    .action((flags: AsFlags) => {
      const policy = findPolicy(flags, io);
      const grant = compileGrant(policy, namedIn(policy, flags.as, io), io.clock());
      const permissions = permissionsOf(grant, "_INBOX.…");
      if (flags.json) return io.out(`${JSON.stringify({ grant, permissions })}\n`);
      const paint = paintOf(io);
      const lines = grant.may.map((line) => `may       ${formatGrantLine(line)}  ${place(line.rule, paint)}`);
      const never = grant.never.map(
        (line) => `never     ${formatGrantLine(line)}  ${place(line.rule, paint)}`,
      );
      const withheld = (grant.withheld ?? []).map(
        ({ line }) => `withheld  ${formatGrantLine(line)}  ${place(line.rule, paint)}`,
      );
      const roles = grant.roles.length > 0 ? grant.roles.join(", ") : "none";
      const told = JSON.stringify(permissions, undefined, 2);
      io.out(
        `${[`user      ${grant.user}`, `roles     ${roles}`, ...lines, ...never, ...withheld, told].join("\n")}\n`,
      );
    });
}

function schemaCommand(io: CommandIo): Command {
  return new Command("schema")
    .description("print the JSON Schema of the policy file, for editors")
    .addHelpText(
      "after",
      `
Example:
  countersign policy schema > policy.schema.json
and as the first line of the policy:
  # yaml-language-server: $schema=policy.schema.json`,
    )
    .action(async () => {
      // The schema library is not worth its loading time to the other commands.
      const { policySchema } = await import("../policy/schema.ts");
      io.out(`${JSON.stringify(policySchema(), undefined, 2)}\n`);
    });
}

function withPolicy(command: Command): Command {
  return command
    .option("--policy <path>", "the policy: a file, or a folder of *.yaml")
    .option("--config <path>", "the configuration file that names it")
    .option("--json", "print the answer as JSON");
}

function paintOf(io: CommandIo): Paint {
  return io.colours ? coloured : plain;
}

function place({ file, line }: { readonly file: string; readonly line: number }, paint: Paint): string {
  return paint("dim", `${file}:${line}`);
}

function summaryOf(policy: Policy, files: number): string {
  const count = (number: number, one: string, many: string): string =>
    `${number} ${number === 1 ? one : many}`;
  const tests = policy.tests.reduce((sum, test) => sum + test.allowed.length + test.refused.length, 0);
  return [
    count(policy.roles.length, "role", "roles"),
    count(tests, "test", "tests"),
    count(files, "file", "files"),
    `version ${policy.version.slice(0, 12)}`,
  ].join(", ");
}

function failureText({ as, action, expected, rule, refusal, file, line, column }: TestResult): string {
  const at = `${file}:${line}:${column}: as ${as}, ${action}`;
  if (rule) return `${at} was to be ${expected}, and "${rule.text}" (${rule.file}:${rule.line}) allows it`;
  const by = refusal?.reason === "never" ? `"${refusal.rule.text}" forbids it` : "no line allows it";
  return `${at} was to be ${expected}, and ${by}`;
}

function namedIn(policy: Policy, name: string, io: CommandIo): Identity {
  const found = findNamed(policy, name);
  if (typeof found === "string") throw new GatewayError("POLICY_INVALID", `Cannot ask for --as: ${found}`);
  return identityOf(found, io.clock());
}

function actionOf(words: readonly string[]): Action {
  const text = words.join(" ");
  const action = parseAction(text);
  if (action.ok) return action.value;
  const why = action.refusal.reason === "request_invalid" ? action.refusal.why : action.refusal.reason;
  throw new GatewayError("POLICY_INVALID", `Cannot read the action "${text}": it ${why}`);
}
