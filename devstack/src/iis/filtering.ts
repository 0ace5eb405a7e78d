/** Request filtering as a server has it by default, in bytes. */
const URL_MAX = 4_096;
const QUERY_MAX = 2_048;
const CONTENT_MAX = 30_000_000;

/** Of the lists that come with IIS: a part, which our paths could meet. */
const HIDDEN = new Set(["bin", "app_code", "app_data", "app_browsers", "app_globalresources", "web.config"]);
const EXTENSIONS = new Set([
  ".config",
  ".cs",
  ".csproj",
  ".vb",
  ".java",
  ".rules",
  ".resources",
  ".resx",
  ".sd",
  ".mdb",
]);
/** "A potentially dangerous Request.Path value": ASP.NET, which runs as soon as a managed module does. */
const DANGEROUS = /[<>*%&:\\?]/;

/** What IIS answers by itself. */
export interface Rejected {
  readonly status: number;
  readonly substatus: number;
}

export type Filtered =
  | { readonly ok: true /** Decoded, as modules see it. */; readonly path: string; readonly query: string }
  | ({ readonly ok: false } & Rejected);

/**
 * What a request's target has to pass before anything else of IIS sees it.
 *
 * @param target   path and query as the client sent them
 * @param options.managed  whether managed code runs in the pool, as with our module
 */
export function filter(
  target: string,
  { contentLength, managed }: { readonly contentLength: number; readonly managed: boolean },
): Filtered {
  const [rawPath = "", ...rest] = target.split("?");
  const query = rest.join("?");
  if (contentLength > CONTENT_MAX) return reject(413, 1);
  if (rawPath.length > URL_MAX) return reject(404, 14);
  if (query.length > QUERY_MAX) return reject(404, 15);
  const path = decode(rawPath);
  if (path === undefined) return reject(400, 0);
  // Decoded twice it would be another path; and `+` was a blank once.
  if (decode(path) !== path || path.includes("+")) return reject(404, 11);
  if (managed && DANGEROUS.test(path)) return reject(400, 0);
  const segments = normalised(path).split("/");
  if (segments.some((segment) => HIDDEN.has(segment.toLowerCase()))) return reject(404, 8);
  const extension = /\.[^.]*$/.exec(segments.at(-1) ?? "")?.[0].toLowerCase();
  if (extension !== undefined && EXTENSIONS.has(extension)) return reject(404, 7);
  return { ok: true, path: normalised(path), query };
}

/** HTTP.sys decodes a path once, and a backslash is a slash. */
function decode(path: string): string | undefined {
  try {
    return decodeURIComponent(path).replaceAll("\\", "/");
  } catch {
    return undefined;
  }
}

function normalised(path: string): string {
  const kept: string[] = [];
  for (const segment of path.split("/")) {
    if (segment === "..") kept.pop();
    else if (segment !== ".") kept.push(segment);
  }
  return kept.join("/").replace(/^(?!\/)/, "/");
}

/** A decoded path as it is sent on: what was escaped without need is no longer, and `%2F` has become `/`. */
export function escapePath(path: string): string {
  return path
    .split("/")
    .map((segment) =>
      encodeURIComponent(segment).replace(/%(3A|40|24|2C|3B|3D|26|2B)/g, (escaped) =>
        decodeURIComponent(escaped),
      ),
    )
    .join("/");
}

function reject(status: number, substatus: number): Filtered {
  return { ok: false, status, substatus };
}
