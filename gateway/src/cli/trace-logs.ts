import { createReadStream } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { fileFaultOf, GatewayError } from "../errors.ts";
import type { AuditCollector, TraceWindow } from "../iis/audit-collector.ts";
import { findLogs, isHttpErr, type LogFile, readLog } from "../iis/log-files.ts";
import { type DecisionEvent, type IisEvent, iisEventOf } from "../iis/trace-events.ts";
import type { Looked } from "../iis/trace-parts.ts";
import type { TraceSelector } from "../iis/trace-selector.ts";
import type { LogLine, LogReport } from "../iis/w3c-log.ts";
import type { Progress } from "./progress.ts";

/** Lines that one trace keeps. */
const LINES_MAX = 10_000;
/** Lines of nobody known that are held until it is known whose they may be; about 50 MB. */
const NOBODYS_MAX = 100_000;
/** More ids than this are looked up by column: looking for each in the bytes would cost more. */
const NEEDLES_MAX = 64;
/** How far from a trace's own requests others of the same address are shown. */
const NEAR_MS = 60_000;

export interface FoundLines {
  readonly lines: readonly IisEvent[];
  readonly reports: readonly LogReport[];
  readonly looked: Pick<Looked, "iis" | "withoutRequestId">;
  readonly truncated: boolean;
}

/** What the lines of a trace have: its requests' ids, or the names by which IIS knows its user. */
export interface WantedLines {
  readonly ids: ReadonlySet<string>;
  /** Lower case. */
  readonly names: ReadonlySet<string>;
  readonly clients: ReadonlySet<string>;
  readonly window: TraceWindow;
}

export function wantedLines(
  { kind, text }: TraceSelector,
  decisions: readonly DecisionEvent[],
  window: TraceWindow,
): WantedLines {
  const records = decisions.map(({ record }) => record);
  const names = kind === "user" ? [text, ...records.flatMap(({ name = [] }) => name)] : [];
  return {
    ids: new Set([...(kind === "id" ? [text] : []), ...records.map(({ requestId }) => requestId)]),
    names: new Set(names.map((name) => name.toLowerCase())),
    clients: new Set(records.flatMap(({ remote = [] }) => remote)),
    window,
  };
}

/**
 * Reads the logs of IIS for the lines of a trace, then HTTP.sys's. What was ended before anybody knew whose request it
 * was (by HTTP.sys, by request filtering) is shown where it came from an address of the trace, around its time.
 */
export async function readLines(
  files: readonly LogFile[],
  wanted: WantedLines,
  progress: Progress,
): Promise<FoundLines> {
  const lines = new BoundedList();
  const nobodys = new Nobodys();
  const reports: LogReport[] = [];
  async function read(
    file: LogFile,
    needles: readonly Buffer[],
    take: (event: IisEvent) => void,
  ): Promise<void> {
    const onLine = (line: LogLine): void => take(iisEventOf(line));
    reports.push(await readLog(file, { needles, onLine, ...progress.of(file.path) }));
  }
  const needles = needlesOf(wanted);
  for (const file of files.filter(({ path }) => !isHttpErr(path))) {
    await read(file, needles, (event) => {
      if (isWanted(event, wanted)) lines.add(event);
      else if (event.requestId === undefined && event.username === undefined) nobodys.add(event);
    });
  }
  const { isNear, known } = nearOf(lines.events, wanted);
  for (const event of nobodys.events) if (isNear(event)) lines.add(event);
  for (const file of files.filter(({ path }) => isHttpErr(path))) {
    await read(file, [], (event) => {
      if (isNear(event)) lines.add(event);
    });
  }
  return {
    lines: lines.events,
    reports,
    looked: lookedAt(reports),
    truncated: lines.full || nobodys.missesAnyOf(known),
  };
}

class BoundedList {
  readonly events: IisEvent[] = [];
  /** There were more. */
  full: boolean = false;

  add(event: IisEvent): void {
    if (this.events.length < LINES_MAX) this.events.push(event);
    else this.full = true;
  }
}

/** Lines of nobody known. Which of them belong to the trace is only known at the end. */
class Nobodys {
  readonly events: IisEvent[] = [];
  readonly #left = new Set<string>();

  add(event: IisEvent): void {
    if (event.client === undefined) return;
    if (this.events.length < NOBODYS_MAX) this.events.push(event);
    else if (this.#left.size < NOBODYS_MAX) this.#left.add(event.client);
  }

  /** Whether lines of these addresses were left out: a site's own files are no reason to say that there is more. */
  missesAnyOf(clients: ReadonlySet<string>): boolean {
    return this.#left.size >= NOBODYS_MAX || [...clients].some((client) => this.#left.has(client));
  }
}

function needlesOf({ ids, names }: WantedLines): readonly Buffer[] {
  // Names are the same in either case, so that their bytes say nothing.
  if (names.size > 0 || ids.size === 0 || ids.size > NEEDLES_MAX) return [];
  return [...ids].map((id) => Buffer.from(id));
}

function isWanted(event: IisEvent, { ids, names, window }: WantedLines): boolean {
  if (event.requestId !== undefined && ids.has(event.requestId)) return true;
  const { username, atMs } = event;
  return username !== undefined && names.has(username.toLowerCase()) && isWithin(atMs, window);
}

function isWithin(atMs: number | undefined, { sinceMs, untilMs }: TraceWindow): boolean {
  if (atMs === undefined) return true;
  return atMs >= (sinceMs ?? atMs) && atMs <= (untilMs ?? atMs);
}

/** HTTP.sys knows addresses only: those of the trace's requests, around their time. */
function nearOf(lines: readonly IisEvent[], { clients, window }: WantedLines): Near {
  const times = lines.flatMap(({ atMs = [] }) => atMs);
  const near = {
    sinceMs: Math.min(window.sinceMs ?? Number.POSITIVE_INFINITY, ...times) - NEAR_MS,
    untilMs: Math.max(window.untilMs ?? Number.NEGATIVE_INFINITY, ...times) + NEAR_MS,
  };
  const known = new Set([...clients, ...lines.flatMap(({ client = [] }) => client)]);
  const isNear: Near["isNear"] = ({ client, atMs }) =>
    client !== undefined && known.has(client) && isWithin(atMs, near);
  return { isNear, known };
}

interface Near {
  readonly isNear: (event: IisEvent) => boolean;
  /** Addresses. */
  readonly known: ReadonlySet<string>;
}

function lookedAt(reports: readonly LogReport[]): FoundLines["looked"] {
  const sites = reports.filter(({ file, lines }) => !isHttpErr(file) && lines > 0);
  const joinable = sites.filter(({ fields }) => fields.has("x-request-id"));
  const from = joinable.flatMap(({ fromMs = [] }) => fromMs);
  const to = joinable.flatMap(({ toMs = [] }) => toMs);
  return {
    iis: from.length > 0 ? { fromMs: Math.min(...from), toMs: Math.max(...to) } : undefined,
    withoutRequestId: sites.filter(({ fields }) => !fields.has("x-request-id")).map(({ file }) => file),
  };
}

/** The logs that paths lead to. @throws GatewayError CONFIG_INVALID when there is none */
export async function logsAt(paths: readonly string[]): Promise<readonly LogFile[]> {
  const files = await findLogs(paths);
  if (files.length > 0 || paths.length === 0) return files;
  const message = `Cannot find a log of IIS in ${paths.join(", ")}: expected files like u_ex261126.log or u_ex261126_x.log`;
  throw new GatewayError("CONFIG_INVALID", message);
}

/** An audit log with what was rotated out of it, oldest first. */
export async function auditFilesAt(path: string): Promise<readonly LogFile[]> {
  const current = await sizeOf(path);
  const beginning = `${basename(path)}.`;
  const names = (await readdir(dirname(path)))
    .filter(
      (name) => name.startsWith(beginning) && /^\d{6,9}-[0-9a-f]{8}$/.test(name.slice(beginning.length)),
    )
    .sort(
      (a, b) =>
        Number.parseInt(a.slice(beginning.length), 10) - Number.parseInt(b.slice(beginning.length), 10),
    );
  const rotated = await Promise.all(names.map((name) => sizeOf(join(dirname(path), name))));
  return [...rotated, current];
}

async function sizeOf(path: string): Promise<LogFile> {
  try {
    return { path, bytes: (await stat(path)).size };
  } catch (error) {
    throw new GatewayError("CONFIG_INVALID", `Cannot read the audit log "${path}": ${fileFaultOf(error)}`);
  }
}

export async function readAudit(
  files: readonly LogFile[],
  collector: AuditCollector,
  progress: Progress,
): Promise<void> {
  for (const { path } of files) {
    const { onBytes, signal } = progress.of(path);
    for await (const chunk of createReadStream(path, {
      highWaterMark: 1_048_576,
      signal,
    }) as AsyncIterable<Buffer>) {
      onBytes(chunk.length);
      collector.read(chunk);
    }
    collector.end();
  }
}
