/**
 * A place in IIS's hierarchy: `""` for the server, `Site`, `Site/bus`, `Site/bus/healthz`. Compared without regard to
 * case, as IIS does.
 */
export type VirtualPath = string;

/** `Site/bus` and `/v1/` → `Site/bus/v1`. */
export function joinPath(base: VirtualPath, more: string): VirtualPath {
  return [base, ...more.split(/[\\/]+/)].filter((part) => part !== "" && part !== ".").join("/");
}

export function isSamePath(a: VirtualPath, b: VirtualPath): boolean {
  return a.toLowerCase() === b.toLowerCase();
}

/** Whether `path` is `base` or below it. */
export function isAtOrBelow(path: VirtualPath, base: VirtualPath): boolean {
  return base === "" || isSamePath(path, base) || path.toLowerCase().startsWith(`${base.toLowerCase()}/`);
}

/** The server, then every place down to the path itself. */
export function placesDownTo(path: VirtualPath): readonly VirtualPath[] {
  const parts = path === "" ? [] : path.split("/");
  return ["", ...parts.map((_, index) => parts.slice(0, index + 1).join("/"))];
}
