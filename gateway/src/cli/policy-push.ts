import { basename } from "node:path";
import { Command } from "commander";
import { callGateway, type GatewayAnswer, problemText, TOKEN_HELP } from "./gateway-call.ts";
import { type CommandIo, EXIT } from "./io.ts";
import { findPolicyFiles, LOOKUP, type PolicyFlags } from "./policy-source.ts";

interface PushFlags extends PolicyFlags {
  readonly to: string;
  readonly rollback?: string;
  readonly json?: boolean;
}

/** `countersign policy push`: hands a policy to a gateway, which checks it, tests it, and puts it in force everywhere. */
export function pushCommand(io: CommandIo): Command {
  return new Command("push")
    .description(
      "put a policy in force on every gateway, or go back to a former one (needs the verb push-policy)",
    )
    .option("--policy <path>", "the policy: a file, or a folder of *.yaml")
    .option("--config <file>", "the configuration file that names it")
    .option("--to <url>", "the administration listener (`admin:`) of any gateway", "http://127.0.0.1:8482")
    .option("--rollback <version>", "put this former version in force instead")
    .option("--json", "print the answer as JSON")
    .addHelpText(
      "after",
      `
${LOOKUP}

${TOKEN_HELP}

The gateway refuses a policy that does not parse or fails its own tests. A pushed policy counts before the gateways'
own files. Who pushed it, and what became wider, stands in the audit log.

Examples:
  countersign policy diff policy-in-force/ policy/ && countersign policy push --policy policy/
  countersign policy push --rollback 8e2b2964c738b30e4b815fc1b0c7fba4b73d693698f041b7df3ab11770ce1aa8`,
    )
    .action(async (flags: PushFlags) => {
      const answer = await push(io, flags);
      const text = answer.ok ? changesText(answer) : refusalText(answer);
      io.out(flags.json ? `${JSON.stringify(answer.body)}\n` : text);
      io.exit(answer.ok ? EXIT.yes : EXIT.no);
    });
}

function push(io: CommandIo, flags: PushFlags): Promise<GatewayAnswer> {
  if (flags.rollback !== undefined) {
    return callGateway(io, flags.to, `/v1/policy/rollback?to=${encodeURIComponent(flags.rollback)}`, {});
  }
  // Labels in the gateway's records: where the files lie on this machine is not its business.
  const files = findPolicyFiles(flags, io).map(({ path, text }) => ({ path: basename(path), text }));
  return callGateway(io, flags.to, "/v1/policy", { files });
}

interface PushedChange {
  readonly role: string;
  readonly what: string;
  readonly text: string;
  readonly wider: boolean;
}

function changesText({ body }: GatewayAnswer): string {
  const changes = (body.changes ?? []) as readonly PushedChange[];
  const lines = changes.map(
    ({ role, what, text, wider }) => `${wider ? "wider  " : "       "} ${role}: ${what} ${text}`,
  );
  return [`in force: ${body.version}`, `before:   ${body.former}`, ...lines, ""].join("\n");
}

function refusalText(answer: GatewayAnswer): string {
  const mistakes = (answer.body.mistakes ?? []) as readonly string[];
  return [...mistakes, problemText(answer)].join("\n");
}
