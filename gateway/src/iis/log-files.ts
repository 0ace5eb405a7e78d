import { createReadStream } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { createGunzip } from "node:zlib";
import { fileFaultOf, GatewayError, messageOf } from "../errors.ts";
import { type LogReaderOptions, type LogReport, W3cLogReader } from "./w3c-log.ts";

/** A log to be read. */
export interface LogFile {
  readonly path: string;
  /** As it lies on the disk, compressed or not. */
  readonly bytes: number;
}

/** Large enough that a read costs nothing beside its bytes, small enough to stay in the processor's cache. */
const CHUNK_BYTES = 1_048_576;
/** `LogFiles` holds a folder a site; theirs hold the logs. */
const DEPTH_MAX = 3;
const FILES_MAX = 100_000;

/**
 * Names that IIS and HTTP.sys give: by day, hour or size, `_x` with custom fields, and compressed by whoever keeps them.
 *
 * @source  the IIS logFile reference (u_ex, u_extend); HTTPERR
 */
const LOG_NAME = /^(?:(?:u_)?ex(?:tend)?\d+(?:_x)?|httperr\d*)\.log(?:\.gz)?$/i;

/** HTTP.sys's own log, of what never reached a site. */
export function isHttpErr(path: string): boolean {
  return /^httperr/i.test(basename(path));
}

/**
 * The logs that paths lead to: a file is one whatever its name, a folder holds those of IIS's names, in it and below.
 *
 * @returns in the order they were written, as far as their names tell
 * @throws GatewayError CONFIG_INVALID for a path that cannot be read
 */
export async function findLogs(paths: readonly string[]): Promise<readonly LogFile[]> {
  const found = new Map<string, LogFile>();
  for (const path of paths) await collect(path, 0, found);
  const byName = new Intl.Collator("en", { numeric: true });
  return [...found.values()].sort((a, b) => byName.compare(basename(a.path), basename(b.path)));
}

async function collect(path: string, depth: number, found: Map<string, LogFile>): Promise<void> {
  const entry = await stat(path).catch((error: unknown) => {
    throw new GatewayError("CONFIG_INVALID", `Cannot read the log "${path}": ${fileFaultOf(error)}`);
  });
  if (!entry.isDirectory()) {
    if (found.size >= FILES_MAX)
      throw new GatewayError("CONFIG_INVALID", `More than ${FILES_MAX} logs in "${path}"`);
    found.set(path, { path, bytes: entry.size });
    return;
  }
  if (depth >= DEPTH_MAX) return;
  for (const { name, ...kind } of await readdir(path, { withFileTypes: true }).then(named)) {
    if (kind.folder || LOG_NAME.test(name)) await collect(join(path, name), depth + 1, found);
  }
}

function named(
  entries: readonly { readonly name: string; isDirectory(): boolean }[],
): { readonly name: string; readonly folder: boolean }[] {
  return entries.map((entry) => ({ name: entry.name, folder: entry.isDirectory() }));
}

/**
 * Reads one log to its end, in memory that does not grow with it.
 *
 * @param onBytes  told how many bytes of the file have been read since it was last told
 * @returns what was read; a compressed file that ends too early is `unfinished`, with what came before
 */
export async function readLog(
  { path }: LogFile,
  {
    onBytes = () => {},
    signal,
    ...options
  }: Omit<LogReaderOptions, "file"> & {
    readonly onBytes?: (bytes: number) => void;
    readonly signal?: AbortSignal;
  },
): Promise<LogReport> {
  const reader = new W3cLogReader({ file: path, ...options });
  const source = createReadStream(path, { highWaterMark: CHUNK_BYTES, ...(signal && { signal }) });
  source.on("data", (chunk) => onBytes(chunk.length));
  const chunks = /\.gz$/i.test(path) ? source.pipe(createGunzip({ chunkSize: CHUNK_BYTES })) : source;
  source.once("error", (error) => chunks.destroy(error));
  try {
    for await (const chunk of chunks as AsyncIterable<Buffer>) reader.read(chunk);
  } catch (error) {
    signal?.throwIfAborted();
    if (chunks === source || source.errored) throw unreadable(path, error);
    const report = reader.end();
    report.unfinished = true;
    return report;
  }
  return reader.end();
}

function unreadable(path: string, error: unknown): GatewayError {
  return new GatewayError("CONFIG_INVALID", `Cannot read the log "${path}": ${messageOf(error)}`, {
    cause: error,
  });
}
