import { GatewayError } from "../../errors.ts";
import type { ConfigFile } from "./config-file.ts";
import { type Application, applicationsOf } from "./sites.ts";
import type { PlacedFile } from "./view.ts";
import { isSamePath, joinPath, type VirtualPath } from "./virtual-path.ts";

/** A file, and the folder it was found in: absolute, with `/` or `\`. */
export interface SourceFile {
  readonly config: ConfigFile;
  readonly folder: string;
}

/** Files that have to do with one another, each at its place. */
export interface PlacedGroup {
  readonly files: readonly PlacedFile[];
  /** Where to look. */
  readonly targets: readonly VirtualPath[];
  /** From the server's own file, outermost first; none without it. */
  readonly applications: readonly Application[];
  /** Places where an application begins, as far as is known. */
  readonly boundaries: readonly VirtualPath[];
}

/** Any name: without the server's own file a site has none. */
const SOME_SITE = "Site";

/**
 * Says which site each web.config is of: a file in a folder below another's is below it, and the outermost is where
 * `site` says, where the server's own file has its folder, or, where there is one application only, that one.
 *
 * @throws GatewayError CONFIG_INVALID  naming the applications there are
 */
export function placeFiles(files: readonly SourceFile[], site: string | undefined): readonly PlacedGroup[] {
  const [host, second] = files.filter(({ config }) => config.kind === "host");
  if (second) {
    throw wrong(`${host?.config.file} and ${second.config.file} are both a server's own; give one at a time`);
  }
  const webs = files.filter(({ config }) => config.kind === "web");
  const applications = host ? outermostFirst(applicationsOf(host.config)) : [];
  if (!host && site !== undefined)
    throw wrong("--site says which of a server's sites; give its applicationHost.config too");
  const placedHost: readonly PlacedFile[] = host ? [{ ...host.config, base: "" }] : [];
  if (webs.length === 0) {
    const targets =
      site === undefined
        ? ["", ...applications.map(({ path }) => path)]
        : [applicationNamed(applications, site)];
    return [{ files: placedHost, targets, applications, boundaries: applications.map(({ path }) => path) }];
  }
  return familiesOf(webs).map((family) => {
    const [outermost] = family;
    const base = outermost && host ? baseOf(outermost, applications, site) : SOME_SITE;
    const placed = family.map(({ config, folder }) => ({
      ...config,
      base: joinPath(
        base,
        folderParts(folder)
          .slice(folderParts(outermost?.folder ?? folder).length)
          .join("/"),
      ),
    }));
    const targets = placed.map((each) => each.base);
    return {
      files: [...placedHost, ...placed],
      targets,
      applications,
      // A folder with a file of its own is most often an application; where the server's file tells, it counts.
      boundaries: host ? applications.map(({ path }) => path) : targets,
    };
  });
}

/** Files by the outermost folder they are in or below; each family outermost first. */
function familiesOf(webs: readonly SourceFile[]): readonly (readonly SourceFile[])[] {
  const families: SourceFile[][] = [];
  const byDepth = webs.toSorted((a, b) => folderParts(a.folder).length - folderParts(b.folder).length);
  for (const web of byDepth) {
    const family = families.find(
      ([outermost]) => outermost !== undefined && isBelow(web.folder, outermost.folder),
    );
    if (family) family.push(web);
    else families.push([web]);
  }
  return families;
}

function folderParts(folder: string): readonly string[] {
  return folder.split(/[\\/]+/).filter(Boolean);
}

/** Not for two files in one folder: they cannot both be its web.config. */
function isBelow(folder: string, outer: string): boolean {
  const parts = folderParts(folder);
  const outerParts = folderParts(outer);
  return parts.length > outerParts.length && outerParts.every((part, index) => part === parts[index]);
}

function baseOf(
  { config, folder }: SourceFile,
  applications: readonly Application[],
  site: string | undefined,
): VirtualPath {
  if (site !== undefined) return applicationNamed(applications, site);
  const here = applications.find(
    ({ physicalPath }) => physicalPath !== undefined && isSameFolder(physicalPath, folder),
  );
  if (here) return here.path;
  const [only, ...others] = applications;
  if (only && others.length === 0) return only.path;
  throw wrong(
    `of which application ${config.file} is, is not known; say --site with one of: ${namesOf(applications)}`,
  );
}

function isSameFolder(a: string, b: string): boolean {
  const expanded = a.replace(/%SystemDrive%/i, "C:");
  return folderParts(expanded).join("/").toLowerCase() === folderParts(b).join("/").toLowerCase();
}

function applicationNamed(applications: readonly Application[], site: string): VirtualPath {
  const path = joinPath("", site);
  const found = applications.find((each) => isSamePath(each.path, path));
  if (found) return found.path;
  throw wrong(`there is no application ${site}; there are: ${namesOf(applications)}`);
}

function namesOf(applications: readonly Application[]): string {
  const names = applications.map(({ path }) => `"${path}"`);
  return names.length === 0 ? "none" : `${names.slice(0, 20).join(", ")}${names.length > 20 ? " …" : ""}`;
}

function outermostFirst(applications: readonly Application[]): readonly Application[] {
  return applications.toSorted((a, b) => a.path.split("/").length - b.path.split("/").length);
}

function wrong(why: string): GatewayError {
  return new GatewayError("CONFIG_INVALID", `Cannot examine: ${why}.`);
}
