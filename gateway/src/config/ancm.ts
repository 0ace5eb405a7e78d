import { ANCM_ENVIRONMENT } from "../hop/headers.ts";
import type { SchemaContext } from "./values.ts";

/** The process as ASP.NET Core Module V2 started it. */
export interface AncmProcess {
  /** Of 127.0.0.1. */
  readonly port: number;
  /** The pairing token. A function, so that nothing prints it with the configuration. */
  readonly token: () => string;
  /** Virtual path of the application: `/` or `/bus`. */
  readonly applicationPath: string;
}

/** IIS makes a GUID: 32 hexadecimal digits with or without dashes and braces. */
const TOKEN_MIN = 32;

/**
 * What IIS gave this process. It is its host only if all three are set, as ASP.NET Core itself has it.
 *
 * @returns undefined when IIS did not start it; a text that says what of it cannot be used
 */
export function ancmProcessOf({ env }: Pick<SchemaContext, "env">): AncmProcess | string | undefined {
  const names = ANCM_ENVIRONMENT;
  const [port = "", token = "", path = ""] = [env[names.port], env[names.token], env[names.applicationPath]];
  if (port === "" || token === "" || path === "") return undefined;
  if (!/^\d{1,5}$/.test(port) || Number(port) === 0 || Number(port) > 65_535) {
    return `${names.port}, which IIS sets, is not a port`;
  }
  if (!path.startsWith("/") || path.length > 256)
    return `${names.applicationPath}, which IIS sets, is not a path`;
  if (token.length < TOKEN_MIN) {
    return `${names.token} is shorter than what IIS makes; it must not be set in web.config, where others read it`;
  }
  return { port: Number(port), token: () => token, applicationPath: path };
}
