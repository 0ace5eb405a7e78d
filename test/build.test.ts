import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { startStack } from "@countersign/devstack/stack.ts";

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));

interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

function runNode(args: readonly string[], cwd: string): Promise<Ran> {
  return new Promise((resolve) => {
    execFile(process.execPath, args, { cwd }, (error, out, err) => {
      resolve({ code: error === null ? 0 : Number(error.code ?? -1), out, err });
    });
  });
}

describe("npm run build", () => {
  let dist: string;
  let empty: string;
  let countersign: string;

  before(async () => {
    dist = await mkdtemp(join(tmpdir(), "countersign-dist-"));
    empty = join(dist, "empty");
    await mkdir(empty);
    countersign = join(dist, "countersign", "countersign.js");
    const built = await runNode([join(ROOT, "tools", "build.ts"), dist], empty);
    assert.equal(built.code, 0, built.err + built.out);
  });
  after(() => rm(dist, { recursive: true, force: true }));

  test("the bundle runs alone in an empty folder: --version, --help", async () => {
    const { version } = JSON.parse(await readFile(join(ROOT, "package.json"), "utf8"));
    assert.deepEqual(await runNode([countersign, "--version"], empty), {
      code: 0,
      out: `${version}\n`,
      err: "",
    });
    const help = await runNode([countersign, "--help"], empty);
    assert.deepEqual([help.code, help.err], [0, ""]);
    assert.match(help.out, /^Usage: countersign/);
    assert.match(help.out, /serve/);
  });

  test("the identity module for IIS stands beside the bundle, as it was compiled in its test", async () => {
    const name = "CountersignIdentity.cs";
    const source = await readFile(join(ROOT, "gateway", "src", "iis", "module", name), "utf8");
    assert.equal(await readFile(join(dirname(countersign), name), "utf8"), source);
  });

  test("the bundle checks a policy", async () => {
    const policy = await readFile(join(ROOT, "devstack", "policy.yaml"), "utf8");
    await writeFile(join(empty, "policy.yaml"), policy);
    const good = await runNode([countersign, "policy", "check", "policy.yaml"], empty);
    assert.equal(good.code, 0, good.err + good.out);
    await writeFile(join(empty, "bad.yaml"), "version: 1\nroles: { clerk: { may: [ publsh a.b ] } }\n");
    assert.notEqual((await runNode([countersign, "policy", "check", "bad.yaml"], empty)).code, 0);
  });

  test("the bundle serves", async () => {
    const stack = await startStack({ stateDir: join(dist, "state"), gateway: { bundle: countersign } });
    try {
      const headers = { authorization: `Bearer ${stack.identityProvider.tokenFor("alice")}` };
      const url = `${stack.gatewayUrl}/v1/publish?subject=orders.eu.1.create`;
      const response = await fetch(url, { method: "POST", headers, body: "three apples" });
      assert.equal(response.status, 202, await response.text());
    } finally {
      await stack.stop();
    }
  });

  test("the bundle needs no package and names its licence", async () => {
    const manifest = JSON.parse(await readFile(join(dist, "countersign", "package.json"), "utf8"));
    assert.equal(manifest.dependencies, undefined);
    assert.deepEqual(manifest.bin, { countersign: "countersign.js" });
    assert.match(await readFile(countersign, "utf8"), /^#!\/usr\/bin\/env node\n/);
    assert.match(await readFile(join(dist, "countersign", "LICENSE"), "utf8"), /Apache License/);
  });

  test("each package has its own words", async () => {
    for (const [built, source] of [
      ["countersign", ROOT],
      ["seal", join(ROOT, "seal")],
    ] as const) {
      const words = await readFile(join(source, "README.md"), "utf8");
      assert.equal(await readFile(join(dist, built, "README.md"), "utf8"), words);
    }
  });

  test("dist/seal is plain JavaScript that a service imports, with types that tell what is there", async () => {
    const seal = await import(pathToFileURL(join(dist, "seal", "index.js")).href);
    assert.equal(seal.userName("demo", "alice"), "demo-alice");
    assert.equal(typeof seal.createVerifier, "function");
    const manifest = JSON.parse(await readFile(join(dist, "seal", "package.json"), "utf8"));
    assert.deepEqual(manifest.exports, { ".": { types: "./index.d.ts", default: "./index.js" } });

    const service = join(empty, "service.ts");
    await writeFile(
      service,
      `import { userName } from ${JSON.stringify(join(dist, "seal", "index.js"))};\nexport const user: string | undefined = userName("demo", "alice");\nexport const wrong: number = userName("demo", "alice");\n`,
    );
    const tsc = join(ROOT, "node_modules", "typescript", "bin", "tsc");
    const options = ["--noEmit", "--strict", "--module", "nodenext", "--target", "es2024", "--types", "node"];
    const roots = ["--typeRoots", join(ROOT, "node_modules", "@types")];
    const compiled = await runNode([tsc, ...options, ...roots, service], empty);
    assert.match(compiled.out, /service\.ts\(3,14\): error TS2322/);
    assert.equal(compiled.out.match(/error TS/g)?.length, 1, compiled.out);
  });
});
