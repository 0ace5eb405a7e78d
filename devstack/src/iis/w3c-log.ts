import { appendFileSync, mkdirSync } from "node:fs";
import { join } from "node:path";

/** The default fields of IIS in their order, and our custom field at the end. */
const FIELDS = [
  ...["date", "time", "s-ip", "cs-method", "cs-uri-stem", "cs-uri-query", "s-port", "cs-username", "c-ip"],
  ...[
    "cs(User-Agent)",
    "cs(Referer)",
    "sc-status",
    "sc-substatus",
    "sc-win32-status",
    "time-taken",
    "x-request-id",
  ],
];

/** One request, once it is over. */
export interface LoggedRequest {
  readonly at: Date;
  readonly serverAddress: string;
  readonly serverPort: number;
  readonly method: string;
  /** Decoded. */
  readonly path: string;
  /** As the client sent it. */
  readonly query: string;
  readonly username?: string;
  readonly clientAddress: string;
  readonly userAgent?: string;
  readonly referer?: string;
  readonly status: number;
  readonly substatus: number;
  readonly win32Status: number;
  readonly milliseconds: number;
  /** The response's `X-Request-Id`; absent when the gateway did not answer. */
  readonly requestId?: string;
}

export interface W3cLog {
  /** `…/W3SVC1/u_ex261126_x.log`; `_x` because there is a custom field. */
  readonly file: string;
  readonly write: (entry: LoggedRequest) => void;
}

/**
 * Opens a site's log in the W3C extended format, and writes its head as IIS does at every start. Each line is written
 * at once, where HTTP.sys would collect 64 KB of them.
 */
export function openW3cLog(folder: string, now: Date): W3cLog {
  const site = join(folder, "W3SVC1");
  mkdirSync(site, { recursive: true });
  const [date = "", time = ""] = timesOf(now);
  const file = join(site, `u_ex${date.slice(2).replaceAll("-", "")}_x.log`);
  const head = [
    "#Software: Microsoft Internet Information Services 10.0",
    "#Version: 1.0",
    `#Date: ${date} ${time}`,
    `#Fields: ${FIELDS.join(" ")}`,
  ];
  appendFileSync(file, `${head.join("\r\n")}\r\n`);
  return { file, write: (entry) => appendFileSync(file, `${lineOf(entry)}\r\n`) };
}

function lineOf(entry: LoggedRequest): string {
  const values = [
    ...timesOf(entry.at),
    entry.serverAddress,
    entry.method,
    escapeStem(entry.path),
    entry.query,
    entry.serverPort,
    entry.username,
    entry.clientAddress,
    entry.userAgent,
    entry.referer,
    entry.status,
    entry.substatus,
    entry.win32Status,
    entry.milliseconds,
    entry.requestId,
  ];
  return values.map(plain).join(" ");
}

/** Always UTC. */
function timesOf(at: Date): readonly string[] {
  return at.toISOString().slice(0, 19).split("T");
}

/** Nothing is `-`; blanks and control characters are `+`, and so is a plus. */
function plain(value: string | number | undefined): string {
  const text = String(value ?? "");
  // biome-ignore lint/suspicious/noControlCharactersInRegex: it is them that are replaced
  return text === "" ? "-" : text.replace(/[\x00-\x20\x7f]/g, "+");
}

function escapeStem(path: string): string {
  return path.replace(/[^\x21-\x7e]/gu, (character) =>
    character === " " ? "+" : encodeURIComponent(character),
  );
}
