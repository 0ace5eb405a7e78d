import { readFile } from "node:fs/promises";
import { createVerifier, fileKeySet, type Verifier } from "@countersign/seal";
import type { NatsConnection } from "@nats-io/transport-node";
import { Command, Option } from "commander";
import { natsServersOf } from "../compose/from-config.ts";
import type { Config } from "../config/config.ts";
import { loadConfig } from "../config/load.ts";
import { GatewayError, messageOf } from "../errors.ts";
import { AuditCollector, type TraceWindow } from "../iis/audit-collector.ts";
import { joinTrace, type Trace } from "../iis/trace-join.ts";
import { parseSelector, type SelectorKind, type TraceSelector } from "../iis/trace-selector.ts";
import { traceText } from "../iis/trace-text.ts";
import type { LogReport } from "../iis/w3c-log.ts";
import type { NatsServers } from "../nats/dial.ts";
import { isoTimeOf, parseDurationMs } from "../time.ts";
import { connectAs, connectControl } from "./connect-as.ts";
import { type CommandIo, EXIT } from "./io.ts";
import { createProgress } from "./progress.ts";
import { configPath } from "./serve.ts";
import { auditFilesAt, logsAt, readAudit, readLines, wantedLines } from "./trace-logs.ts";
import { type FoundMessages, readAuditStream, readMessages } from "./trace-messages.ts";

interface TraceOptions {
  readonly iis: readonly string[];
  readonly audit: readonly string[];
  readonly config?: string;
  readonly as?: SelectorKind;
  readonly since?: string;
  readonly until?: string;
  readonly creds?: string;
  readonly server: readonly string[];
  readonly ca?: string;
  readonly issuer?: string;
  readonly audience?: string;
  readonly keys?: string;
  readonly json?: boolean;
}

/** `countersign trace`: one timeline of what IIS logged, the gateway decided and NATS keeps. */
export function traceCommand(io: CommandIo): Command {
  return new Command("trace")
    .description("follow a request, a user, a message or a subject from IIS's log to the message, and back")
    .argument("<what>", "an id of a request or a message, a user such as entra-ann, or a subject")
    .addOption(new Option("--as <kind>", "what it is, where its form does not tell").choices(KINDS))
    .option("--iis <path>", "a log of IIS or HTTP.sys, or a folder of them, .gz too; repeatable", several, [])
    .option("--audit <file>", "an audit log, with what was rotated out of it; repeatable", several, [])
    .option(
      "--config <file>",
      "the gateway's configuration: its audit logs, servers, public URL and trust domain",
    )
    .option("--creds <file>", "a NATS user that may read the streams, so that the messages are looked up too")
    .option("--server <url>", "nats-server; default: the configuration's; repeatable", several, [])
    .option("--ca <file>", "the authority to trust instead of the system's, PEM; with --server")
    .option("--issuer <url>", "the gateway's public URL, to verify seals; default: the configuration's")
    .option("--audience <domain>", "the trust domain; default: the configuration's")
    .option("--keys <file>", "a JWK Set in a file; default: the issuer's own, over HTTPS")
    .option("--since <time>", "from then on: 2026-11-26T08:00:00Z, or 2h for two hours ago")
    .option("--until <time>", "until then")
    .option("--json", "one JSON object: events, findings, and what was read of each log")
    .addHelpText("after", HELP)
    .action(async (what: string, options: TraceOptions) => {
      const request = readRequest(io, what, options);
      const found = await gather(io, request, options);
      print(io, found, options.json ?? false);
      const { trace, truncated } = found;
      io.exit(trace.events.length === 0 || trace.findings.length > 0 || truncated ? EXIT.no : EXIT.yes);
    });
}

const KINDS: readonly SelectorKind[] = ["request", "message", "user", "subject"];

function several(value: string, before: readonly string[]): readonly string[] {
  return [...before, value];
}

const HELP = `
Shows the browser's request as IIS logged it, who IIS said it was, what the gateway decided under which rule and policy
version, what came of it, and the message in its stream with its seal verified. What does not fit together is a finding:
IIS and the gateway name different users, a request never reached the gateway, a message has no record.

IIS's log is joined by the column X-Request-Id, which \`countersign iis init\` adds. Logs are read as they are: any order
of columns, headers in between, several blanks, .gz, files still being written. Lines that do not fit are counted.

Exits with 0 when something was found and all of it fits, 1 when nothing was or something does not fit, 2 for usage.

Examples:
  countersign trace 01a219e3-a04d-7375-92a5-3e5df011bc46 --config countersign.yaml --iis C:\\inetpub\\logs\\LogFiles\\W3SVC2
  countersign trace iis-S-1-5-21-1004 --since 2h --audit audit.jsonl --iis u_ex261126_x.log.gz
  countersign trace 'orders.eu.>' --config countersign.yaml --creds auditor.creds --json`;

interface Request {
  readonly selector: TraceSelector;
  readonly window: TraceWindow;
}

function readRequest(
  io: CommandIo,
  what: string,
  { as, since, until, iis, audit, config }: TraceOptions,
): Request {
  if (iis.length === 0 && audit.length === 0 && config === undefined) {
    throw new GatewayError("CONFIG_INVALID", "Nothing to read: name --iis, --audit or --config");
  }
  const selector = parseSelector(what, as);
  if (!selector.ok) {
    const { refusal } = selector;
    throw new GatewayError(
      "CONFIG_INVALID",
      `Cannot trace: ${"why" in refusal ? refusal.why : refusal.reason}`,
    );
  }
  const nowMs = io.clock() * 1000;
  const sinceMs = since === undefined ? undefined : parseTime("--since", since, nowMs);
  const untilMs = until === undefined ? undefined : parseTime("--until", until, nowMs);
  if (sinceMs !== undefined && untilMs !== undefined && sinceMs > untilMs) {
    throw new GatewayError("CONFIG_INVALID", `--since ${since} is later than --until ${until}`);
  }
  const window = { ...(sinceMs !== undefined && { sinceMs }), ...(untilMs !== undefined && { untilMs }) };
  return { selector: selector.value, window };
}

function parseTime(option: string, text: string, nowMs: number): number {
  const ago = parseDurationMs(text);
  if (ago !== undefined) return nowMs - ago;
  const atMs = /^\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:\d{2})?)?$/.test(text)
    ? Date.parse(
        /[Z+]|-\d{2}:\d{2}$/.test(text) ? text : `${text.replace(" ", "T")}${text.includes(":") ? "Z" : ""}`,
      )
    : Number.NaN;
  if (!Number.isNaN(atMs)) return atMs;
  const message = `${option}: expected a time like 2026-11-26T08:00:00Z (UTC where it does not say), or 2h for two hours ago; found "${text}"`;
  throw new GatewayError("CONFIG_INVALID", message);
}

interface Found {
  readonly selector: TraceSelector;
  readonly trace: Trace;
  readonly logs: readonly LogReport[];
  readonly audit: { readonly lines: number; readonly malformed: number };
  /** There is more than is shown. */
  readonly truncated: boolean;
}

async function gather(io: CommandIo, { selector, window }: Request, options: TraceOptions): Promise<Found> {
  const config = options.config === undefined ? undefined : await loadConfig(configPath(io, options.config));
  const auditPaths = [...options.audit, ...auditPathsOf(config)];
  const auditFiles = (await Promise.all(auditPaths.map(auditFilesAt))).flat();
  const logs = await logsAt(options.iis);
  const bytes = [...auditFiles, ...logs].reduce((sum, file) => sum + file.bytes, 0);
  const progress = createProgress(io, bytes);
  const collector = new AuditCollector(selector, window);
  try {
    await readAudit(auditFiles, collector, progress);
    const keptInStream = config?.audit.some(({ to }) => to === "stream") === true;
    if (config && keptInStream) {
      await within(connectControl(config, NAME), (connection) =>
        readAuditStream(connection, window, collector, io.signal),
      );
    }
    const { decisions, completions } = collector;
    const lines = await readLines(logs, wantedLines(selector, decisions, window), progress);
    const stored = await lookUp(io, { selector, window }, options, config, collector);
    const looked = {
      ...lines.looked,
      audit: auditFiles.length > 0 || keptInStream,
      streams: stored !== undefined,
    };
    const messages = stored?.messages ?? [];
    const nowMs = io.clock() * 1000;
    return {
      selector,
      trace: joinTrace({ iis: lines.lines, decisions, completions, messages, looked, nowMs }),
      logs: lines.reports,
      audit: { lines: collector.lines, malformed: collector.malformed },
      truncated: lines.truncated || collector.truncated || stored?.truncated === true,
    };
  } finally {
    progress.done();
  }
}

/** Shown in nats-server's list of connections. */
const NAME = "countersign trace";

function auditPathsOf(config: Config | undefined): readonly string[] {
  return config?.audit.flatMap((target) => (target.to === "file" ? [target.path] : [])) ?? [];
}

async function lookUp(
  io: CommandIo,
  request: Request,
  options: TraceOptions,
  config: Config | undefined,
  { decisions }: AuditCollector,
): Promise<FoundMessages | undefined> {
  const { creds } = options;
  if (creds === undefined) return undefined;
  const verify = verifierOf(options, config);
  return within(connectAs(await serversOf(options, config), creds, NAME), (connection) =>
    readMessages(connection, { ...request, decisions, verify, signal: io.signal }),
  );
}

async function serversOf({ server, ca }: TraceOptions, config: Config | undefined): Promise<NatsServers> {
  if (server.length > 0) {
    return { servers: server, ...(ca !== undefined && { tls: { ca: await readFile(ca, "utf8") } }) };
  }
  if (config) return natsServersOf(config);
  throw new GatewayError(
    "CONFIG_INVALID",
    "--creds: expected --server or --config too, which say where NATS is",
  );
}

function verifierOf({ issuer, audience, keys }: TraceOptions, config: Config | undefined): Verifier {
  const of = { issuer: issuer ?? config?.publicUrl, audience: audience ?? config?.trustDomain };
  if (of.issuer === undefined || of.audience === undefined) {
    const message =
      "--creds: expected --issuer and --audience, or --config, to verify the seals of what is found";
    throw new GatewayError("CONFIG_INVALID", message);
  }
  try {
    return createVerifier({
      ...{ issuer: of.issuer, audience: of.audience },
      ...(keys !== undefined && { keys: fileKeySet(keys) }),
    });
  } catch (error) {
    throw new GatewayError("CONFIG_INVALID", `Cannot verify seals: ${messageOf(error)}`);
  }
}

async function within<T>(
  connecting: Promise<NatsConnection>,
  work: (connection: NatsConnection) => Promise<T>,
): Promise<T> {
  const connection = await connecting;
  try {
    return await work(connection);
  } finally {
    await connection.close();
  }
}

function print(io: CommandIo, { selector, trace, logs, audit, truncated }: Found, json: boolean): void {
  if (json) {
    const reports = logs.map((report) => ({
      ...report,
      fields: [...report.fields],
      fromMs: undefined,
      toMs: undefined,
      ...(report.fromMs !== undefined && { from: isoTimeOf(report.fromMs / 1000) }),
      ...(report.toMs !== undefined && { to: isoTimeOf(report.toMs / 1000) }),
    }));
    const events = trace.events.map(({ atMs, ...event }) => ({
      ...(atMs !== undefined && { at: isoTimeOf(atMs / 1000) }),
      ...event,
    }));
    io.out(
      `${JSON.stringify({ of: selector, events, findings: trace.findings, truncated, logs: reports, audit })}\n`,
    );
    return;
  }
  io.out(traceText(trace));
  for (const { file, malformed, lines, examples, unfinished } of logs) {
    const [first] = examples;
    if (first) {
      io.err(
        `${file}: ${malformed} of ${lines} lines do not fit, and were left out; line ${first.number} ${first.why}\n`,
      );
    }
    if (unfinished) io.err(`${file}: ends in the middle of a line\n`);
  }
  if (audit.malformed > 0)
    io.err(`audit: ${audit.malformed} of ${audit.lines} lines are no records, and were left out\n`);
  if (truncated) io.err("There is more than is shown: narrow it with --since and --until.\n");
  if (trace.events.length === 0) io.err("Nothing was found.\n");
}
