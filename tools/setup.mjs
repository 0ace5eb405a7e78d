// Installs what the lock file names, when it is not there yet: so that a fresh clone needs one command.
// Plain JavaScript, because it runs on whatever Node the machine has, before the pinned one is installed.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const stamp = join(root, "node_modules", ".countersign-setup");
const wanted = createHash("sha256")
  .update(readFileSync(join(root, "package-lock.json")))
  .digest("hex");

if (!existsSync(stamp) || readFileSync(stamp, "utf8") !== wanted) {
  console.error("Setting up: installing the packages of package-lock.json (once, under a minute) …");
  // npm tells its own path to the scripts it runs; started that way no shell and no .cmd shim is needed.
  const npm = process.env.npm_execpath;
  const [command, args] = npm ? [process.execPath, [npm]] : ["npm", []];
  // Not `npm ci`: it refuses a lock file that lacks packages of other platforms, and a registry need not have those.
  const install = ["install", "--no-save", "--no-audit", "--no-fund", "--loglevel=error"];
  const done = spawnSync(command, [...args, ...install], {
    cwd: root,
    stdio: ["ignore", 2, 2],
  });
  if (done.status !== 0) {
    console.error(
      "Cannot install the packages: `npm install` failed (see above). Needed: Node 20 or later with npm, and a package registry in reach.",
    );
    process.exit(1);
  }
  writeFileSync(stamp, wanted);
}

// The pinned Node is a package for most platforms; elsewhere (macOS on ARM) the machine's own must do.
const pinned = existsSync(join(root, "node_modules", ".bin", "node"));
if (!pinned && Number(process.versions.node.split(".")[0]) < 24) {
  console.error(
    `Node ${process.versions.node} does not run TypeScript, and no package has a newer one for ${process.platform} ${process.arch}. Install Node 24.`,
  );
  process.exit(1);
}
