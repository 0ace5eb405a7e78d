/** One version for all workspaces; `tools/tidy.ts` holds it against their package.json. */
export const VERSION = "0.1.0";
