// npm run build: dist/countersign (one file, no dependencies) and dist/seal (plain JavaScript with its types).
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

type Workspace = "gateway" | "seal";

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
/** What each package takes along, from the root. */
const TEXTS: Readonly<Record<Workspace, readonly string[]>> = {
  gateway: ["LICENSE", "README.md"],
  // It has words of its own for the services that import it.
  seal: ["LICENSE", "seal/README.md"],
};
/** The source of the identity module for IIS. */
const IDENTITY_MODULE = "CountersignIdentity.cs";
/** The oldest Node that production may run. */
const NODE_MIN = 22;
/**
 * Packages in CommonJS call require() for Node's own modules, which an ES module does not have. An older Node would fail
 * at the first function it lacks, as if that were a fault of ours.
 */
const BANNER = `import { createRequire as __createRequire } from "node:module";
const require = __createRequire(import.meta.url);
if (Number(process.versions.node.split(".")[0]) < ${NODE_MIN}) {
  console.error("countersign: expected Node ${NODE_MIN} or later, found " + process.versions.node);
  process.exit(1);
}`;

const dist = resolve(process.argv[2] ?? join(ROOT, "dist"));
await buildCountersign(join(dist, "countersign"));
buildSeal(join(dist, "seal"));
console.log(`Built ${join(dist, "countersign")} and ${join(dist, "seal")}`);

async function buildCountersign(folder: string): Promise<void> {
  begin(folder, "gateway");
  const outfile = join(folder, "countersign.js");
  await build({
    entryPoints: [join(ROOT, "gateway", "src", "main.ts")],
    outfile,
    bundle: true,
    platform: "node",
    format: "esm",
    target: `node${NODE_MIN}`,
    banner: { js: BANNER },
    legalComments: "external",
    logLevel: "warning",
  });
  chmodSync(outfile, 0o755);
  // IIS compiles it by itself, from the App_Code of a site.
  copyFileSync(join(ROOT, "gateway", "src", "iis", "module", IDENTITY_MODULE), join(folder, IDENTITY_MODULE));
  writeManifest(folder, "gateway", { bin: { countersign: "countersign.js" } });
}

function buildSeal(folder: string): void {
  begin(folder, "seal");
  const config = join(mkdtempSync(join(folder, "build-")), "tsconfig.json");
  const settings = {
    extends: join(ROOT, "tsconfig.json"),
    compilerOptions: {
      noEmit: false,
      outDir: folder,
      rootDir: join(ROOT, "seal", "src"),
      typeRoots: [join(ROOT, "node_modules", "@types")],
      rewriteRelativeImportExtensions: true,
    },
    include: [join(ROOT, "seal", "src")],
    exclude: [join(ROOT, "seal", "src", "**", "*.test.ts"), join(ROOT, "seal", "src", "testing")],
  };
  writeFileSync(config, JSON.stringify(settings));
  // node_modules/.bin holds a shell script on Unix and a .cmd on Windows; the package's own file runs on both.
  const typescript = createRequire(import.meta.url).resolve("typescript/package.json");
  execFileSync(process.execPath, [join(dirname(typescript), "bin", "tsc"), "--project", config], {
    stdio: "inherit",
  });
  rmSync(dirname(config), { recursive: true });
  writeManifest(folder, "seal", { exports: { ".": { types: "./index.d.ts", default: "./index.js" } } });
}

function begin(folder: string, workspace: Workspace): void {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const path of TEXTS[workspace]) copyFileSync(join(ROOT, path), join(folder, basename(path)));
}

function writeManifest(folder: string, workspace: Workspace, entry: object): void {
  const manifest = JSON.parse(readFileSync(join(ROOT, workspace, "package.json"), "utf8"));
  const { name, version, license, type, description, engines } = manifest;
  const published = { name, version, license, type, description, engines, ...entry };
  writeFileSync(join(folder, "package.json"), `${JSON.stringify(published, null, 2)}\n`);
}
