import { GatewayError } from "../../errors.ts";
import { didYouMean } from "../../near.ts";
import { BEHIND, type Behind, type DeployWish, SIGN_IN, type SignIn } from "./wish.ts";

/** A wish as it was given: options of the command, or answers to its questions. */
export interface RawWish {
  readonly behind?: string;
  readonly signIn?: string;
  readonly publicUrl?: string;
  readonly site?: string;
  readonly pool?: string;
  readonly folder?: string;
  readonly node?: string;
  readonly port?: string;
  readonly origin?: readonly string[];
  readonly group?: readonly string[];
}

export const DEFAULTS = {
  pool: "Countersign",
  folder: "C:\\Countersign",
  node: "C:\\Program Files\\nodejs\\node.exe",
  port: "8480",
} as const;

const LIST_MAX = 64;

/**
 * Checks what a deployment is to be. Names and paths stand in XML, in batch files and in PowerShell: they may have
 * nothing that any of these reads.
 *
 * @throws GatewayError CONFIG_INVALID  naming the option and what would be right
 */
export function parseWish(raw: RawWish): DeployWish {
  const publicUrl = parsePublicUrl(raw.publicUrl);
  const isRoot = new URL(publicUrl).pathname === "/";
  const { pool = DEFAULTS.pool, folder = DEFAULTS.folder, node = DEFAULTS.node, port = DEFAULTS.port } = raw;
  const signIn = parseSignIn(raw.signIn);
  const groups = (raw.group ?? []).map(parseGroup);
  if (groups.length > 0 && signIn !== "windows") {
    throw wrong(
      "--group",
      "only Windows authentication tells of groups; add --sign-in windows, or leave it out",
    );
  }
  return {
    behind: parseBehind(raw.behind),
    signIn,
    publicUrl,
    site: parseName("--site", raw.site ?? (isRoot ? "Countersign" : "Default Web Site")),
    pool: parseName("--pool", pool),
    folder: parsePath("--folder", folder),
    node: parseNode(node),
    port: parsePort(port),
    origins: bounded("--origin", raw.origin ?? []).map(parseOrigin),
    groups: bounded("--group", groups),
  };
}

export function parseBehind(text: string | undefined): Behind {
  return parseOneOf("--behind", text, BEHIND);
}

export function parseSignIn(text: string | undefined): SignIn {
  return parseOneOf("--sign-in", text, SIGN_IN);
}

function parseOneOf<T extends string>(option: string, text: string | undefined, values: readonly T[]): T {
  const found = values.find((value) => value === text);
  if (found !== undefined) return found;
  const shown = text === undefined ? "nothing" : `"${text.slice(0, 80)}"${didYouMean(text, values)}`;
  throw wrong(option, `expected one of ${values.join(", ")}; found ${shown}`);
}

export function parsePublicUrl(text: string | undefined): string {
  const url = text === undefined ? null : URL.parse(text);
  const isSafe =
    url?.protocol === "https:" ||
    (url?.protocol === "http:" && /^(?:127\.0\.0\.1|localhost)$/.test(url.hostname));
  const isPlain = url?.username === "" && url.password === "" && url.search === "" && url.hash === "";
  if (
    !url ||
    !isSafe ||
    !isPlain ||
    !/^(?:\/[A-Za-z0-9._~-]{1,64}){0,8}\/?$/.test(url.pathname) ||
    url.hostname.startsWith("[")
  ) {
    throw wrong(
      "--public-url",
      `expected where callers find the gateway, like https://bus.example.com or https://apps.example.com/bus; found ${text === undefined ? "nothing" : `"${text.slice(0, 200)}"`}`,
    );
  }
  return `${url.origin}${url.pathname}`.replace(/\/+$/, "");
}

function parseName(option: string, text: string): string {
  if (/^[A-Za-z0-9](?:[A-Za-z0-9 ._()-]{0,62}[A-Za-z0-9._()-])?$/.test(text)) return text;
  throw wrong(
    option,
    "expected a name of 1–64 letters (A–Z), digits, blanks, dots, dashes, underscores and parentheses",
  );
}

/** What is left out is read by cmd, by WinSW, or not allowed in a path. */
function parsePath(option: string, text: string): string {
  if (
    /^[A-Za-z]:(?:\\[A-Za-z0-9 ._()+,;=@#$&~{}[\]'-]{1,100}){1,16}$/.test(text) &&
    !/[ .](?:\\|$)/.test(text)
  )
    return text;
  throw wrong(
    option,
    `expected a whole path on the server, like ${DEFAULTS.folder}, of letters (A–Z), digits and blanks, without % and ! and quotes`,
  );
}

function parseNode(text: string): string {
  const path = parsePath("--node", text);
  if (/\.exe$/i.test(path)) return path;
  throw wrong("--node", `expected the program itself, like ${DEFAULTS.node}`);
}

function parsePort(text: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (port > 0 && port < 65_536) return port;
  throw wrong("--port", "expected a port, 1–65535");
}

function parseOrigin(text: string): string {
  if (URL.parse(text)?.origin === text && /^https?:/.test(text)) return text;
  throw wrong("--origin", "expected the origin of a page, like https://portal.example.com, without a path");
}

/** Of Windows: names may be in any script, and hold no separator of our list. */
function parseGroup(text: string): string {
  if (/^[^;\p{Cc}\p{Cs}\u{fffe}\u{ffff}]{1,256}$/u.test(text) && text.trim() === text) return text;
  throw wrong("--group", "expected a group as Windows writes it, like CORP\\OrderClerks, or its SID");
}

function bounded<T>(option: string, values: readonly T[]): readonly T[] {
  if (values.length <= LIST_MAX) return values;
  throw wrong(option, `expected at most ${LIST_MAX} of them`);
}

function wrong(option: string, why: string): GatewayError {
  return new GatewayError("CONFIG_INVALID", `Cannot use ${option}: ${why}.`);
}
