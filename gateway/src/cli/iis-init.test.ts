import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, type TestContext, test } from "node:test";
import { FILES } from "../iis/deploy/wish.ts";
import { type Ran, type RunOptions, runIis } from "./testing/run-iis.ts";

const ARR = ["--behind=iis-arr", "--sign-in=windows", "--public-url=https://bus.example.com"];

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "countersign-iis-init-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const run = (args: readonly string[], options: Partial<RunOptions> = {}): Promise<Ran> =>
  runIis(["init", ...args], { cwd: folder, ...options });
const at = (path: string): string => join(folder, "iis", path);
const read = (path: string): string => readFileSync(at(path), "utf8");

function golden(t: TestContext, { out, err, code }: Ran, name: string): void {
  t.assert.fileSnapshot(
    `${out}${err}---------- exit ${code}\n`,
    join(import.meta.dirname, "golden", `iis-init-${name}.txt`),
    { serializers: [(value) => String(value)] },
  );
}

function everything(): ReadonlyMap<string, string> {
  const names = readdirSync(folder, { recursive: true, encoding: "utf8" });
  return new Map(
    names
      .filter((name) => statSync(join(folder, name)).isFile())
      .map((name) => [name, readFileSync(join(folder, name), "utf8")]),
  );
}

test("iis init writes a deployment, and its secrets for their owner alone", async (t) => {
  golden(t, await run(ARR), "written");
  for (const path of [FILES.key, FILES.proof, FILES.moduleKey]) {
    if (process.platform !== "win32") assert.equal(statSync(at(path)).mode & 0o777, 0o600, path);
  }
  assert.equal(Buffer.from(read(FILES.key), "base64").length, 32);
  assert.match(read(FILES.proof), /^[\w-]{43}\n$/);
  assert(read(FILES.moduleKey).includes(read(FILES.key).trim()));
  assert.match(read(FILES.module), /class CountersignIdentity : IHttpModule/);
  assert.match(read(FILES.appcmd), /^@echo off\r\n/);
});

test("iis init run again changes nothing, keeps the secrets, and exits with 0", async (t) => {
  await run(ARR);
  const before = everything();
  golden(t, await run(ARR), "again");
  assert.deepEqual(everything(), before);
  assert.equal(JSON.parse((await run([...ARR, "--json"])).out).ok, true);
});

test("iis init keeps what a person changed, and shows it; with --force it replaces that, and no secret", async (t) => {
  await run(ARR);
  const [key, proof] = [read(FILES.key), read(FILES.proof)];
  const changed = read(FILES.webConfig).replace('maxQueryString="8192"', 'maxQueryString="4096"');
  writeFileSync(at(FILES.webConfig), changed);
  writeFileSync(at(FILES.appcmd), read(FILES.appcmd).replaceAll("\r\n", "\n"));
  rmSync(at(FILES.checklist));
  golden(t, await run(ARR), "changed");
  assert.equal(read(FILES.webConfig), changed);
  golden(t, await run([...ARR, "--force"]), "forced");
  assert.match(read(FILES.webConfig), /maxQueryString="8192"/);
  assert.deepEqual([read(FILES.key), read(FILES.proof)], [key, proof]);
});

test("iis init takes a secret that is being replaced for the one it knows, and shows neither", async () => {
  await run(ARR);
  const key = read(FILES.key).trim();
  const next = Buffer.alloc(32, 1).toString("base64");
  writeFileSync(at(FILES.key), `${key}\n${next}\n`);
  assert.equal((await run(ARR)).code, 0);
  writeFileSync(at(FILES.key), `${next}\n`);
  const differs = await run([...ARR, "--force"]);
  assert.equal(differs.code, 1);
  assert(read(FILES.moduleKey).includes(key), "no secret is replaced");
  for (const secret of [key, next, read(FILES.proof).trim()])
    assert(!`${differs.out}${differs.err}`.includes(secret));
});

test("iis init never prints a secret", async () => {
  const outputs = [
    await run(ARR),
    await run([...ARR, "--json"]),
    await run([...ARR, "--port=9", "--json"]),
    await run([...ARR, "--port=9", "--force"]),
  ];
  for (const { out, err } of outputs) {
    for (const path of [FILES.key, FILES.proof]) assert(!`${out}${err}`.includes(read(path).trim()));
  }
});

test("iis init does not use a secret that others may read", {
  skip: process.platform === "win32",
}, async () => {
  await run(ARR);
  rmSync(at(FILES.key));
  writeFileSync(at(FILES.key), Buffer.alloc(32, 1).toString("base64"), { mode: 0o644 });
  const { code, err } = await run(ARR);
  assert.equal(code, 1);
  assert.match(err, /secrets\/iis\.key".*others may read it \(mode 0644\)/);
});

test("iis init asks on a terminal for what was not said, and again after a wrong answer", async () => {
  const asked = await run([], {
    answers: ["", "OIDC", "oidc", "http://bus.example.com", "https://bus.example.com/"],
  });
  assert.equal(asked.code, 0);
  assert.match(
    asked.err,
    /Cannot use --sign-in: expected one of windows, oidc, certificates; found "OIDC" \(did you mean "oidc"\?\)/,
  );
  assert.match(asked.err, /Cannot use --public-url: expected where callers find the gateway/);
  assert.match(read(FILES.webConfig), /aspNetCore processPath/);
  assert.doesNotMatch(read(FILES.webConfig), /CountersignIdentity/);
  const impatient = await run([], { answers: ["a", "b", "c", "d", "e"] });
  assert.equal(impatient.code, 2);
});

test("iis init says what is missing where nobody can be asked", async () => {
  const { code, err } = await run(["--behind=iis-ancm", "--sign-in=oidc"]);
  assert.deepEqual([code, everything().size], [2, 0]);
  assert.match(
    err,
    /^Cannot use --public-url: expected where callers find the gateway, like .*; found nothing\.\n$/,
  );
});

test("iis init teaches in its help", async (t) => {
  golden(t, await run(["--help"]), "help");
});
