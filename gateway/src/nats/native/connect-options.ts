import { parseJsonObject } from "./json-object.ts";

/** What we take of a client's CONNECT. The rest, credentials for NATS above all, is the gateway's own to say. */
export interface ConnectOptions {
  readonly verbose: boolean;
  readonly echo: boolean;
  readonly headers: boolean;
  readonly noResponders: boolean;
  readonly lang: string;
  readonly version: string;
  /** An access token, wherever a client can put one. */
  readonly token: string | undefined;
}

const NAME_CHARACTERS_MAX = 64;

/**
 * Reads CONNECT. What is left out has the value that nats-server gives it.
 *
 * @returns undefined when it is not a JSON object, or carries several different tokens
 * @source nats-server server/client.go, defaultOpts: verbose, pedantic and echo are on where nothing is said
 */
export function parseConnect(text: string): ConnectOptions | undefined {
  const given = parseJsonObject(text);
  if (!given) return undefined;
  // Clients name the field by what they take it for: nats.js `token`, `pass` or a JWT from an authenticator.
  const tokens = new Set([given.auth_token, given.pass, given.jwt].filter(isText));
  if (tokens.size > 1) return undefined;
  return {
    verbose: given.verbose !== false,
    echo: given.echo !== false,
    headers: given.headers === true,
    noResponders: given.no_responders === true && given.headers === true,
    lang: nameOf(given.lang),
    version: nameOf(given.version),
    token: [...tokens][0],
  };
}

function isText(value: unknown): value is string {
  return typeof value === "string" && value !== "";
}

/** Shown in nats-server's list of connections. */
function nameOf(value: unknown): string {
  return isText(value) ? value.replace(/[^!-~]/g, "?").slice(0, NAME_CHARACTERS_MAX) : "";
}
