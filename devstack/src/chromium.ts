import { accessSync, constants } from "node:fs";

/** Why a browser suite did not run; `tools/test.ts` repeats it at the end. */
export const NO_CHROMIUM = "no Chromium: install it, or name its executable in COUNTERSIGN_CHROMIUM";

const PLACES: readonly string[] = [
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
  "/usr/bin/google-chrome-stable",
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
  "/Applications/Chromium.app/Contents/MacOS/Chromium",
  "C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe",
  "C:\\Program Files (x86)\\Microsoft\\Edge\\Application\\msedge.exe",
];

/** @returns the executable that `COUNTERSIGN_CHROMIUM` names or one in a usual place; undefined when there is none */
export function findChromium(
  env: Readonly<Record<string, string | undefined>> = process.env,
): string | undefined {
  return [env.COUNTERSIGN_CHROMIUM, ...PLACES].find((path) => path !== undefined && isExecutable(path));
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
