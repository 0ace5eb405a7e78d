import { execFile } from "node:child_process";
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { DevstackError } from "./devstack-error.ts";

const run = promisify(execFile);
/** The lists of unstable are 10 MB, the package is 5 MB. */
const APT_TIMEOUT_MS = 300_000;
const OUTPUT_BYTES_MAX = 4 * 1024 * 1024;

/** Where a package archive is and which keys may sign it, as a machine's apt sources say. */
export interface AptArchive {
  readonly uris: string;
  /** Path of a keyring, or the key itself on continuation lines; absent: apt's own trusted keys. */
  readonly signedBy?: string;
}

/**
 * Fetches Debian's own package of nats-server out of unstable and writes the executable to `target`. apt runs
 * with a private configuration made from the machine's own sources: nothing is installed, no list of the
 * machine changes, no root is needed, and the signature checks are apt's.
 *
 * @throws DevstackError when this is not Debian, apt's sources name no Debian archive, or apt fails
 */
export async function fetchNatsFromDebian({
  target,
  progress,
}: {
  readonly target: string;
  readonly progress: (text: string) => void;
}): Promise<void> {
  const osRelease = await readFile("/etc/os-release", "utf8").catch(() => "");
  if (!/^ID="?debian"?$/m.test(osRelease)) throw new DevstackError("this is not Debian");
  const codename = /^VERSION_CODENAME="?([a-z]+)"?$/m.exec(osRelease)?.[1];
  const archives = findDebianArchives(await readAptSources(), codename);
  if (archives.length === 0) throw new DevstackError("apt's sources name no Debian archive");

  const work = await mkdtemp(join(dirname(target), "apt-"));
  try {
    const options = await aptOptions(work, archives);
    progress("Fetching the package lists of Debian unstable, privately (10 MB) …");
    await command("apt-get", [...options, "update"], work);
    progress("Fetching Debian's package of nats-server (5 MB) …");
    await command("apt-get", [...options, "download", "nats-server"], work);
    const deb = (await readdir(work)).find((name) => name.endsWith(".deb"));
    if (deb === undefined) throw new DevstackError("apt-get download left no package");
    await command("dpkg-deb", ["-x", join(work, deb), join(work, "unpacked")], work);
    await copyFile(join(work, "unpacked", "usr", "sbin", "nats-server"), target);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/**
 * Finds the archive the machine's own release comes from, so that no mirror needs to be known here: the
 * entries with component `main` whose suite is the release's codename or one of Debian's aliases. Entries for
 * security updates and other vendors have other suites or components.
 *
 * @param sources   texts of `*.sources` (deb822) and `*.list` (one line each) files, by file name
 * @param codename  `VERSION_CODENAME` of os-release(5)
 */
export function findDebianArchives(
  sources: ReadonlyMap<string, string>,
  codename: string | undefined,
): readonly AptArchive[] {
  const suites = new Set(["stable", "testing", "unstable", "sid", codename]);
  const isDebian = (entry: AptEntry): boolean =>
    entry.suites.some((suite) => suites.has(suite)) && entry.components.includes("main");
  const found = new Map<string, AptArchive>();
  for (const [name, text] of sources) {
    const entries = name.endsWith(".sources") ? parseDeb822(text) : parseOneLine(text);
    for (const { archive } of entries.filter(isDebian)) found.set(archive.uris, archive);
  }
  return [...found.values()];
}

interface AptEntry {
  readonly archive: AptArchive;
  readonly suites: readonly string[];
  readonly components: readonly string[];
}

function parseDeb822(text: string): AptEntry[] {
  const withoutComments = text.replaceAll(/^#.*\n?/gm, "");
  return withoutComments.split(/\n\s*\n/).flatMap((stanza) => {
    const field = (name: string): string | undefined =>
      new RegExp(`^${name}:[ \\t]*(.*(?:\\n[ \\t].*)*)`, "im").exec(stanza)?.[1]?.trimEnd();
    const uris = field("URIs");
    if (uris === undefined || !words(field("Types")).includes("deb")) return [];
    if (field("Enabled")?.toLowerCase() === "no") return [];
    const signedBy = field("Signed-By");
    return {
      archive: signedBy === undefined ? { uris } : { uris, signedBy },
      suites: words(field("Suites")),
      components: words(field("Components")),
    };
  });
}

function parseOneLine(text: string): AptEntry[] {
  return text.split("\n").flatMap((line) => {
    const match = /^\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+([^#]+)/.exec(line);
    const [, options = "", uris, suite, components] = match ?? [];
    if (uris === undefined || suite === undefined) return [];
    const signedBy = /(?:^|\s)signed-by=(\S+)/.exec(options)?.[1];
    return {
      archive: signedBy === undefined ? { uris } : { uris, signedBy },
      suites: [suite],
      components: words(components),
    };
  });
}

function words(text: string | undefined): string[] {
  return (text ?? "").split(/\s+/).filter((word) => word !== "");
}

async function readAptSources(): Promise<ReadonlyMap<string, string>> {
  const folder = "/etc/apt/sources.list.d";
  const names = await readdir(folder).catch(() => []);
  const paths = names.filter((name) => /\.(sources|list)$/.test(name)).map((name) => join(folder, name));
  const sources = new Map<string, string>();
  for (const path of ["/etc/apt/sources.list", ...paths]) {
    const text = await readFile(path, "utf8").catch(() => undefined);
    if (text !== undefined) sources.set(path, text);
  }
  return sources;
}

async function aptOptions(work: string, archives: readonly AptArchive[]): Promise<readonly string[]> {
  const sourceList = join(work, "unstable.sources");
  const stanzas = archives.map(({ uris, signedBy }) =>
    ["Types: deb", `URIs: ${uris}`, "Suites: unstable", "Components: main"]
      .concat(signedBy === undefined ? [] : [`Signed-By: ${signedBy}`])
      .join("\n"),
  );
  await writeFile(sourceList, `${stanzas.join("\n\n")}\n`);
  for (const folder of ["empty", "lists/partial", "cache/archives/partial"]) {
    await mkdir(join(work, folder), { recursive: true });
  }
  const settings = {
    "Dir::Etc::SourceList": sourceList,
    "Dir::Etc::SourceParts": join(work, "empty"),
    // The machine's pins are about what it installs; they would hide unstable from us.
    "Dir::Etc::Preferences": join(work, "no-preferences"),
    "Dir::Etc::PreferencesParts": join(work, "empty"),
    "Dir::State::Lists": join(work, "lists"),
    "Dir::Cache": join(work, "cache"),
    "Acquire::Languages": "none",
    "Acquire::PDiffs": "false",
    // Started as root, apt would download as the user _apt, who cannot write below root's home.
    "APT::Sandbox::User": "root",
  };
  return ["-q", ...Object.entries(settings).flatMap(([name, value]) => ["-o", `${name}=${value}`])];
}

async function command(name: string, args: readonly string[], cwd: string): Promise<void> {
  try {
    await run(name, args, { cwd, timeout: APT_TIMEOUT_MS, maxBuffer: OUTPUT_BYTES_MAX });
  } catch (error) {
    const stderr = (error as { stderr?: string }).stderr?.trim().split("\n").slice(-3).join(" ");
    const why = stderr || (error instanceof Error ? error.message : String(error));
    throw new DevstackError(`${name} failed: ${why}`, { cause: error });
  }
}
