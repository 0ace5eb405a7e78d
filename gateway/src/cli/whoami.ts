import { Command } from "commander";
import { callGateway, defaultGatewayUrl, problemText, TOKEN_HELP } from "./gateway-call.ts";
import { type CommandIo, EXIT } from "./io.ts";

/** What `GET /v1/whoami` answers. */
interface Whoami {
  readonly user: string;
  readonly issuer: string;
  readonly name?: string;
  readonly actor?: string;
  readonly kind: string;
  readonly roles: readonly string[];
  readonly expires: string;
  readonly policy: string;
}

/** `countersign whoami`: asks a gateway whom it takes a token for. */
export function whoamiCommand(io: CommandIo): Command {
  return new Command("whoami")
    .description("ask a gateway who it takes you for: your token, your roles, until when")
    .option("--at <url>", "the gateway's public URL", defaultGatewayUrl(io))
    .option("--json", "print the answer as JSON")
    .addHelpText(
      "after",
      `
${TOKEN_HELP}

Example:
  npm run -s token -- alice | countersign whoami`,
    )
    .action(async ({ at, json }: { at: string; json?: boolean }) => {
      const answer = await callGateway(io, at, "/v1/whoami");
      const text = answer.ok ? describe(answer.body as unknown as Whoami) : problemText(answer);
      io.out(
        json
          ? `${JSON.stringify(answer.body)}
`
          : text,
      );
      io.exit(answer.ok ? EXIT.yes : EXIT.no);
    });
}

function describe({ user, name, issuer, actor, kind, roles, expires, policy }: Whoami): string {
  const lines = [
    `user     ${user}${name === undefined ? "" : ` (${name})`}`,
    ...(actor === undefined ? [] : [`actor    ${actor}`]),
    `issuer   ${issuer}`,
    `kind     ${kind}`,
    `roles    ${roles.length > 0 ? roles.join(", ") : "none"}`,
    `expires  ${expires}`,
    `policy   ${policy.slice(0, 12)}`,
  ];
  return `${lines.join("\n")}\n`;
}
