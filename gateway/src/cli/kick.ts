import { Command } from "commander";
import { callGateway, type GatewayAnswer, problemText, TOKEN_HELP } from "./gateway-call.ts";
import { type CommandIo, EXIT } from "./io.ts";

interface KickFlags {
  readonly at: string;
  readonly json?: boolean;
}

/** After so long people wonder whether it hangs. */
const PROGRESS_AFTER_MS = 1_000;

/** `countersign kick`: ends everything a user has open, on every gateway and every nats-server. */
export function kickCommand(io: CommandIo): Command {
  return new Command("kick")
    .description("end everything a user has open, everywhere (needs the verb end-sessions)")
    .argument("<user>", "as whoami and the audit log write it: <issuer>-<id>, such as entra-1b7e4c…")
    .option("--at <url>", "the administration listener (`admin:`) of any gateway", "http://127.0.0.1:8482")
    .option("--json", "print the answer as JSON")
    .addHelpText(
      "after",
      `
${TOKEN_HELP}

Every session, token and credential of the user from before is refused from then on, and what was opened with one
ends: streams, connections through the gateway, and direct ones on every nats-server. A new sign-in gets in. Whoever
is to stay out must first lose the right in the policy, or the account at the identity provider.

Exits with 0 when all of it has ended, 1 when something may still be open (it says what) or the gateway refused, 2
when it could not be asked.

Examples:
  countersign kick demo-bob < token
  COUNTERSIGN_TOKEN=… countersign kick entra-1b7e4c --at https://gateway1.example.com:8482 --json`,
    )
    .action(async (user: string, { at, json = false }: KickFlags) => {
      const progress = setTimeout(() => io.err(`Waiting for ${at} …\n`), PROGRESS_AFTER_MS);
      const answer = await callGateway(io, at, "/v1/kick", { user }).finally(() => clearTimeout(progress));
      const reached = answer.ok && listOf<string>(answer.body.notReached).length === 0;
      const text = answer.ok ? endedText(answer) : problemText(answer);
      io.out(json ? `${JSON.stringify(answer.body)}\n` : text);
      io.exit(reached ? EXIT.yes : EXIT.no);
    });
}

interface EndedConnections {
  readonly way: string;
  readonly server: string;
  readonly connections: number;
}

function endedText({ body }: GatewayAnswer): string {
  const ended = listOf<EndedConnections>(body.ended).map(
    ({ way, server, connections }) => `ended: ${connections} ${WAYS[way] ?? way} on ${server}\n`,
  );
  const missed = listOf<string>(body.notReached).map((what) => `NOT REACHED: ${what}\n`);
  const nothing = ended.length + missed.length === 0 ? ["nothing was open\n"] : [];
  return [`${body.user}: refused if proved before ${body.notBefore}\n`, ...ended, ...nothing, ...missed].join(
    "",
  );
}

const WAYS: Readonly<Record<string, string>> = {
  gateway: "through the gateway",
  nats: "direct",
  websocket: "direct (WebSocket)",
  mqtt: "direct (MQTT)",
};

function listOf<T>(value: unknown): readonly T[] {
  return Array.isArray(value) ? value : [];
}
