import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";

/**
 * What changes when a policy's file, or one of its folder's, does: names, sizes, times, inodes. Cheap enough to ask
 * every second, on file systems too that tell nobody of changes (mounted ConfigMaps, network shares).
 *
 * @returns `unreadable` while the file is away, as for a moment when it is replaced
 */
export function signatureOf(path: string): string {
  try {
    const { isFolder, own } = look(path);
    if (!isFolder) return own;
    return readdirSync(path)
      .sort()
      .map((name) => `${name} ${look(join(path, name)).own}`)
      .join("\n");
  } catch {
    return "unreadable";
  }
}

function look(path: string): { readonly isFolder: boolean; readonly own: string } {
  const found = statSync(path);
  return { isFolder: found.isDirectory(), own: `${found.ino} ${found.size} ${found.mtimeMs}` };
}
