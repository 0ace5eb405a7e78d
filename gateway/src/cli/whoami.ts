import { Command } from "commander";
import { GatewayError } from "../errors.ts";
import { type CommandIo, EXIT } from "./io.ts";

const TIMEOUT_MS = 10_000;
const ANSWER_BYTES_MAX = 65_536;
const TOKEN_BYTES_MAX = 16_384;

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
    .option("--at <url>", "the gateway's public URL", io.env.COUNTERSIGN_URL ?? "http://127.0.0.1:8480")
    .option("--json", "print the answer as JSON")
    .addHelpText(
      "after",
      `
The access token is read from COUNTERSIGN_TOKEN, or else from standard input; never from an argument, which
every process of the machine could read.

Example:
  npm run -s token -- alice | countersign whoami`,
    )
    .action(async ({ at, json }: { at: string; json?: boolean }) => {
      const token = io.env.COUNTERSIGN_TOKEN ?? (await io.stdin(TOKEN_BYTES_MAX)).toString("utf8").trim();
      const { status, body } = await ask(at, token, io.signal);
      io.out(
        json ? `${JSON.stringify(body)}\n` : status === 200 ? describe(body as Whoami) : refusalText(body),
      );
      io.exit(status === 200 ? EXIT.yes : EXIT.no);
    });
}

async function ask(
  at: string,
  token: string,
  signal: AbortSignal,
): Promise<{ status: number; body: unknown }> {
  const url = `${at.replace(/\/+$/, "")}/v1/whoami`;
  try {
    const answer = await fetch(url, {
      headers: { authorization: `Bearer ${token}` },
      redirect: "error",
      signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
    });
    const text = await answer.text();
    if (text.length > ANSWER_BYTES_MAX) throw new Error("the answer is longer than any whoami");
    return { status: answer.status, body: JSON.parse(text) };
  } catch (error) {
    const why =
      error instanceof Error
        ? error.cause instanceof Error
          ? error.cause.message
          : error.message
        : String(error);
    throw new GatewayError(
      "CONFIG_INVALID",
      `Cannot ask ${url}: ${why}. Is it the public URL of a running gateway?`,
    );
  }
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

function refusalText(body: unknown): string {
  const { title, detail, requestId } = body as { title?: string; detail?: string; requestId?: string };
  return `${[title ?? "refused", detail].filter(Boolean).join(". ")} (request ${requestId ?? "unknown"})\n`;
}
