import { randomBytes } from "node:crypto";
import {
  closeSync,
  fstatSync,
  fsync,
  fsyncSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  type Stats,
  statSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { promisify } from "node:util";
import { GatewayError } from "../errors.ts";
import type { Sink } from "./sink.ts";

export interface FileSinkOptions {
  readonly path: string;
  /** Starts a new file before one would grow beyond this; bytes, at least one line. */
  readonly rotateBytes: number;
  /** Rotated files kept besides the current one; older ones are deleted. 1–10,000. */
  readonly keep: number;
  /** Told when rotation fails: records go on into the old file. Must not throw. */
  readonly onFault: (why: string) => void;
  /** fsync(2); replaced in tests only. */
  readonly fsync?: (fd: number) => Promise<void>;
}

/** A disk that takes longer is broken; whoever asked for the record must not wait for it. */
const SYNC_TIMEOUT_MS = 5_000;

/** How often to look whether somebody else (logrotate, a second instance) has renamed the file under us. */
const LOOK_MS = 1_000;

/** An open file: closed only when nobody waits for its fsync any more. */
interface OpenFile {
  readonly fd: number;
  readonly inode: number;
  readonly device: number;
  bytes: number;
  syncing: number;
  retired: boolean;
}

/**
 * Appends records to a file of mode 0600. write(2) has returned when `append` has, so a killed process loses
 * nothing that was acknowledged; at most its last line is torn, and the next start ends that line, so that a
 * reader skips one line that is no JSON. Durable waits for fsync besides.
 *
 * A full file becomes `<path>.<number>-<random>` and is never renamed again: one rename, so that a crash leaves
 * either name, and a name no second process can take, since rename(2) replaces what is there.
 *
 * @throws GatewayError AUDIT_UNWRITABLE when the file cannot be opened
 */
export function createFileSink(options: FileSinkOptions): Sink {
  const { path, rotateBytes, keep, onFault, fsync: syncFile = fsyncAsync } = options;
  let file = openFirst(path);
  let mustLook = false;
  /** A write broke off in the middle of a line; the next one begins on a new line. */
  let torn = false;
  /** After a rotation failed: not again before the file has grown by a tenth. */
  let rotateAtBytes = rotateBytes;
  const look = setInterval(() => {
    mustLook = true;
  }, LOOK_MS);
  look.unref();

  function reopen(): void {
    const next = openFile(path);
    retire(file);
    file = next;
    rotateAtBytes = rotateBytes;
  }

  function followRename(): void {
    mustLook = false;
    if (isSame(file, statSync(path, { throwIfNoEntry: false }))) file.bytes = fstatSync(file.fd).size;
    else reopen();
  }

  function rotate(): void {
    try {
      // A second instance may have rotated already: then its new file is ours too.
      if (isSame(file, statSync(path, { throwIfNoEntry: false }))) renameSync(path, nameForRotated(path));
      reopen();
      deleteBeyond(path, keep);
    } catch (error) {
      rotateAtBytes = file.bytes + rotateBytes / 10;
      onFault(error instanceof Error ? error.message : "unknown error");
    }
  }

  return {
    name: `file ${path}`,
    append(lines, durable) {
      if (mustLook) followRename();
      const bytes = Buffer.from(`${torn ? "\n" : ""}${lines.join("\n")}\n`, "latin1");
      if (file.bytes > 0 && file.bytes + bytes.length > rotateAtBytes) rotate();
      for (let from = 0; from < bytes.length; ) {
        try {
          from += writeSync(file.fd, bytes, from);
        } catch (error) {
          torn ||= from > 0;
          throw error;
        }
      }
      torn = false;
      file.bytes += bytes.length;
      return durable ? sync(file, syncFile) : undefined;
    },
    async close() {
      clearInterval(look);
      await sync(file, syncFile).finally(() => retire(file));
    },
  };
}

const fsyncAsync = promisify(fsync);

/** The file stays open until its fsync has really ended, however long that takes. */
async function sync(file: OpenFile, syncFile: (fd: number) => Promise<void>): Promise<void> {
  file.syncing += 1;
  const synced = syncFile(file.fd).finally(() => {
    file.syncing -= 1;
    if (file.retired) retire(file);
  });
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => late.reject(new Error("fsync takes more than five seconds")),
    SYNC_TIMEOUT_MS,
  );
  try {
    await Promise.race([synced, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

function retire(file: OpenFile): void {
  file.retired = true;
  if (file.syncing === 0) closeSync(file.fd);
}

/** At the start it is the configuration that is wrong, and the operator who reads why. */
function openFirst(path: string): OpenFile {
  try {
    return openFile(path);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : "unknown error";
    const message = `Cannot write the audit log to ${path}: ${why}. Its folder must be there, and the gateway's user may write in it.`;
    throw new GatewayError("AUDIT_UNWRITABLE", message, { cause });
  }
}

function openFile(path: string): OpenFile {
  const fd = openSync(path, "a+", 0o600);
  try {
    const { size, ino, dev } = fstatSync(fd);
    const file = { fd, inode: ino, device: dev, bytes: size, syncing: 0, retired: false };
    if (size > 0 && lastByte(fd, size) !== 0x0a) file.bytes += writeSync(fd, "\n");
    // Without this, a power cut can take a new file away though its content was synced.
    if (process.platform !== "win32") syncDirectory(dirname(path));
    return file;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

function lastByte(fd: number, size: number): number | undefined {
  const byte = Buffer.alloc(1);
  readSync(fd, byte, 0, 1, size - 1);
  return byte[0];
}

function syncDirectory(path: string): void {
  const fd = openSync(path, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function isSame(file: OpenFile, found: Stats | undefined): boolean {
  return found !== undefined && found.ino === file.inode && found.dev === file.device;
}

/** The rotated files of `path`, oldest first. */
function rotatedOf(path: string): { readonly name: string; readonly number: number }[] {
  const prefix = `${basename(path)}.`;
  return readdirSync(dirname(path))
    .filter((name) => name.startsWith(prefix) && /^\d{6,9}-[0-9a-f]{8}$/.test(name.slice(prefix.length)))
    .map((name) => ({ name, number: Number.parseInt(name.slice(prefix.length), 10) }))
    .sort((a, b) => a.number - b.number);
}

function nameForRotated(path: string): string {
  const number = (rotatedOf(path).at(-1)?.number ?? 0) + 1;
  return `${path}.${String(number).padStart(6, "0")}-${randomBytes(4).toString("hex")}`;
}

function deleteBeyond(path: string, keep: number): void {
  for (const { name } of rotatedOf(path).slice(0, -keep)) {
    try {
      unlinkSync(join(dirname(path), name));
    } catch (error) {
      // A second instance was faster.
      if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
    }
  }
}
