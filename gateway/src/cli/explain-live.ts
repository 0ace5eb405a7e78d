import { type Action, formatAction } from "../policy/action.ts";
import type { Paint } from "../policy/paint.ts";
import { callGateway, problemText } from "./gateway-call.ts";
import { type CommandIo, EXIT, type ExitCode } from "./io.ts";

/** What `GET /v1/explain` answers: only lines of the caller's own roles, and not where they stand. */
interface LiveExplanation {
  readonly outcome: "allowed" | "refused";
  readonly action: string;
  readonly roles: readonly string[];
  readonly policy: string;
  readonly rule?: LiveLine;
  readonly near?: readonly (LiveLine & { readonly missing: readonly string[] })[];
}

interface LiveLine {
  readonly role?: string;
  readonly text: string;
}

/**
 * Asks a running gateway, under the policy in force there, what the bearer of a token may do.
 *
 * @param at  the gateway's public URL
 * @throws GatewayError CONFIG_INVALID when there is no token or no gateway there
 */
export async function explainLive(
  io: CommandIo,
  action: Action,
  { at, json = false, paint }: { readonly at: string; readonly json?: boolean; readonly paint: Paint },
): Promise<ExitCode> {
  const [verb = "", ...object] = formatAction(action).split(" ");
  const query = new URLSearchParams({
    action: verb,
    ...(object.length > 0 && { subject: object.join(" ") }),
  });
  const answer = await callGateway(io, at, `/v1/explain?${query}`);
  const { body } = answer;
  if (json) io.out(`${JSON.stringify(body)}\n`);
  else io.out(answer.ok ? textOf(body as unknown as LiveExplanation, paint) : problemText(answer));
  return answer.ok && body.outcome === "allowed" ? EXIT.yes : EXIT.no;
}

function textOf({ outcome, action, roles, policy, rule, near = [] }: LiveExplanation, paint: Paint): string {
  const verdict = outcome === "allowed" ? paint("green", "allowed") : paint("red", "refused");
  const has = roles.length > 0 ? `with ${roles.join(", ")}` : "with no role";
  const lines = [
    `${verdict}  ${paint("bold", action)}`,
    `as       the bearer of this token, ${has}; policy ${policy.slice(0, 12)}`,
    ...(rule ? [`by       ${lineText(rule, paint)}`] : []),
    ...near.flatMap((one) => [
      `near     ${lineText(one, paint)}`,
      ...one.missing.map((missing) => `         ${paint("yellow", "missing")}: ${missing}`),
    ]),
    ...(outcome === "refused" && near.length === 0 ? ["because  no line of these roles is near"] : []),
  ];
  return `${lines.join("\n")}\n`;
}

function lineText({ role, text }: LiveLine, paint: Paint): string {
  return role === undefined ? text : `${text}  ${paint("dim", `role ${role}`)}`;
}
