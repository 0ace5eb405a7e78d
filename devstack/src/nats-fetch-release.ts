import { createHash } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { DevstackError } from "./devstack-error.ts";
import { fileFromTarGz, fileFromZip } from "./unpack.ts";

/** The release we fetch. A newer one needs new hashes below. */
const RELEASE_VERSION = "2.15.0";
const RELEASES_URL = "https://github.com/nats-io/nats-server/releases/download";

/** SHA-256 of each archive as the release's own SHA256SUMS lists it; the key is `<platform>-<architecture>` of Node. */
const ARCHIVES: Readonly<Record<string, { readonly name: string; readonly sha256: string }>> = {
  "linux-x64": {
    name: "linux-amd64.tar.gz",
    sha256: "5d2c51caca950333aba84911df7d377f826f3a59ec36061c6539105084f65c92",
  },
  "linux-arm64": {
    name: "linux-arm64.tar.gz",
    sha256: "cdc208f5a3f42963a52b6ab06ef65626bb870315dc936e26ba571780c6351112",
  },
  "darwin-x64": {
    name: "darwin-amd64.tar.gz",
    sha256: "5bd8b59ca5bf93fab3da2c5843cf564cd6e2e291e22ae3b861746e7ebe259b95",
  },
  "darwin-arm64": {
    name: "darwin-arm64.tar.gz",
    sha256: "e1c4e22d70bd44abfa0bcb3c16f7cf0c66f648c2e728c58924e8a1ce88913cc8",
  },
  "win32-x64": {
    name: "windows-amd64.zip",
    sha256: "2d0861dc2ca3567d17f7d19611d7b346cc2ccbd7086a0a77cc957a2c71663200",
  },
};

/** How long the release host may take to answer at all, and to send the whole archive. */
const ANSWER_TIMEOUT_MS = 15_000;
const DOWNLOAD_TIMEOUT_MS = 300_000;
/** Today's archives are 7 MB. */
const ARCHIVE_BYTES_MAX = 32 * 1024 * 1024;

export interface FetchReleaseOptions {
  /** Where the executable is written. */
  readonly target: string;
  readonly progress: (text: string) => void;
  /** `<platform>-<architecture>` as Node names them. Default: this machine. */
  readonly platform?: string;
  readonly download?: (url: string, progress: (text: string) => void) => Promise<Uint8Array>;
}

/**
 * Fetches the official release of nats-server for this platform, checks its SHA-256 against the one pinned
 * here, and writes the executable to `target`.
 *
 * @throws DevstackError when there is none for the platform, it cannot be reached, or the hash differs
 */
export async function fetchNatsRelease({
  target,
  progress,
  platform = `${process.platform}-${process.arch}`,
  download = downloadArchive,
}: FetchReleaseOptions): Promise<void> {
  const archive = ARCHIVES[platform];
  if (archive === undefined) throw new DevstackError(`no official archive is pinned for ${platform}`);
  const url = `${RELEASES_URL}/v${RELEASE_VERSION}/nats-server-v${RELEASE_VERSION}-${archive.name}`;
  progress(`Downloading nats-server ${RELEASE_VERSION} from ${new URL(url).host} …`);
  const bytes = await download(url, progress);
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  if (sha256 !== archive.sha256) {
    throw new DevstackError(`${url} has SHA-256 ${sha256}, expected ${archive.sha256}: not used`);
  }
  const executable = archive.name.endsWith(".zip")
    ? fileFromZip(bytes, "nats-server.exe")
    : fileFromTarGz(bytes, "nats-server");
  if (executable === undefined) throw new DevstackError(`${url} contains no nats-server executable`);
  await writeFile(target, executable, { mode: 0o755 });
}

async function downloadArchive(url: string, progress: (text: string) => void): Promise<Uint8Array> {
  const abort = new AbortController();
  let timer = setTimeout(() => abort.abort(), ANSWER_TIMEOUT_MS);
  try {
    const response = await fetch(url, { signal: abort.signal });
    clearTimeout(timer);
    timer = setTimeout(() => abort.abort(), DOWNLOAD_TIMEOUT_MS);
    if (!response.ok || response.body === null) {
      throw new DevstackError(`${url} answered ${response.status}`);
    }
    return await readBody(response.body, Number(response.headers.get("content-length")), progress);
  } catch (error) {
    if (error instanceof DevstackError) throw error;
    throw new DevstackError(`${url} cannot be fetched (${reasonOf(error)})`, { cause: error });
  } finally {
    clearTimeout(timer);
  }
}

async function readBody(
  body: ReadableStream<Uint8Array>,
  bytesExpected: number,
  progress: (text: string) => void,
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  let shownPercent = 0;
  for await (const chunk of body) {
    bytes += chunk.byteLength;
    if (bytes > ARCHIVE_BYTES_MAX) throw new DevstackError(`the archive is over ${ARCHIVE_BYTES_MAX} bytes`);
    chunks.push(chunk);
    const percent = bytesExpected > 0 ? Math.floor((bytes / bytesExpected) * 100) : 0;
    if (percent >= shownPercent + 25) {
      shownPercent = percent;
      progress(`  ${percent} % of ${(bytesExpected / 1e6).toFixed(1)} MB`);
    }
  }
  return Buffer.concat(chunks);
}

/** fetch() says only "fetch failed"; what failed stands in the cause. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? error.cause.message : error.message;
}
