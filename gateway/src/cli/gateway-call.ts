import { GatewayError } from "../errors.ts";
import type { CommandIo } from "./io.ts";

const TIMEOUT_MS = 10_000;
const ANSWER_CHARACTERS_MAX = 4 * 1024 * 1024;
const TOKEN_BYTES_MAX = 16_384;

/** For the help of every command that asks a gateway. */
export const TOKEN_HELP =
  "The access token is read from COUNTERSIGN_TOKEN, or else from standard input; never from an argument, which\nevery process of the machine could read.";

/** The gateway that is meant when nobody names one. */
export function defaultGatewayUrl({ env }: CommandIo): string {
  return env.COUNTERSIGN_URL ?? "http://127.0.0.1:8480";
}

export interface GatewayAnswer {
  readonly ok: boolean;
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
}

/**
 * Asks a gateway as the bearer of a token.
 *
 * @param at  the gateway's URL, with its base path, or its administration listener's
 * @throws GatewayError CONFIG_INVALID when there is no token or no gateway there
 */
export async function callGateway(
  io: CommandIo,
  at: string,
  path: string,
  body?: object,
): Promise<GatewayAnswer> {
  const token = io.env.COUNTERSIGN_TOKEN ?? (await io.stdin(TOKEN_BYTES_MAX)).toString("utf8").trim();
  if (!/^[\x21-\x7e]+$/.test(token)) {
    throw new GatewayError("CONFIG_INVALID", `Cannot ask ${at}: there is no access token. ${TOKEN_HELP}`);
  }
  const url = `${at.replace(/\/+$/, "")}${path}`;
  try {
    const answer = await fetch(url, {
      method: body ? "POST" : "GET",
      headers: { authorization: `Bearer ${token}`, ...(body && { "content-type": "application/json" }) },
      ...(body && { body: JSON.stringify(body) }),
      redirect: "error",
      signal: AbortSignal.any([io.signal, AbortSignal.timeout(TIMEOUT_MS)]),
    });
    const text = await answer.text();
    if (text.length > ANSWER_CHARACTERS_MAX) throw new Error("its answer is longer than any of a gateway's");
    return { ok: answer.ok, status: answer.status, body: JSON.parse(text) };
  } catch (error) {
    throw new GatewayError(
      "CONFIG_INVALID",
      `Cannot ask ${url}: ${whyOf(error)}. Is that where a running gateway listens?`,
    );
  }
}

/** What a problem document says to people, in one line. */
export function problemText({ body }: GatewayAnswer): string {
  const { title, detail, requestId } = body;
  return `${[title ?? "refused", detail].filter(Boolean).join(". ")} (request ${requestId ?? "unknown"})\n`;
}

/** fetch() says "fetch failed" and keeps the reason for itself. */
function whyOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? error.cause.message : error.message;
}
