import assert from "node:assert/strict";
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { EXPLAIN } from "./greeting.ts";
import { findFreePort, isPortFree } from "./ports.ts";

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const ROOT = here("../..");

interface Ran {
  readonly code: number;
  readonly out: string;
}

function run(script: string, ...args: readonly string[]): Promise<Ran> {
  return runWith({}, script, ...args);
}

function runWith(
  env: Readonly<Record<string, string>>,
  script: string,
  ...args: readonly string[]
): Promise<Ran> {
  const options = { cwd: ROOT, env: { ...process.env, ...env } };
  return new Promise((resolve) => {
    execFile(process.execPath, [here(script), ...args], options, (error, out, err) => {
      resolve({ code: error === null ? 0 : Number(error.code ?? -1), out: out + err });
    });
  });
}

describe("npm start", () => {
  let stateDir: string;
  let ports: readonly number[];
  let main: ChildProcess;
  let out = "";

  /** Waits until `npm start` has printed something, or has ended. */
  const printed = async (pattern: RegExp): Promise<void> => {
    while (!pattern.test(out)) {
      assert.equal(main.exitCode, null, out);
      await Promise.race([once(main.stdout as NodeJS.ReadableStream, "data"), once(main, "close")]);
    }
  };

  before(async () => {
    stateDir = await mkdtemp(join(tmpdir(), "countersign-start-"));
    ports = [await findFreePort(), await findFreePort(), await findFreePort(), await findFreePort()];
    const [gateway, idp, nats, admin] = ports.map(String);
    const options = [
      `--gateway-port=${gateway}`,
      `--idp-port=${idp}`,
      `--nats-port=${nats}`,
      `--admin-port=${admin}`,
    ];
    main = spawn(process.execPath, [here("main.ts"), ...options, "--state", stateDir], { cwd: ROOT });
    for (const stream of [main.stdout, main.stderr]) {
      stream?.setEncoding("utf8").on("data", (text: string) => {
        out += text;
      });
    }
    await printed(/A sample subscriber prints/);
  });
  after(async () => {
    if (main.exitCode === null && main.signalCode === null) {
      main.kill("SIGKILL");
      await once(main, "close");
    }
    await rm(stateDir, { recursive: true, force: true });
  });

  test("npm start says where everything is and what to paste", () => {
    for (const pattern of [
      /\/demo, sign in as alice/,
      /npm run -s token -- alice/,
      /npm run -s try -- bob/,
      /npx countersign policy explain --as bob/,
      /npm run -s try -- tamper/,
      new RegExp(`administration +http://127\\.0\\.0\\.1:${ports[3]} `),
    ]) {
      assert.match(out, pattern);
    }
  });

  test("npm run try -- alice goes through, and the subscriber names her", async () => {
    const { code, out: said } = await run("try.ts", "alice", "--state", stateDir);
    assert.deepEqual([code, /^ {2}202 /m.test(said)], [0, true], said);
    await printed(/✓ orders\.eu\.1\.create {2}alice \(demo-alice\) {2}\{"article":"apples"/);
  });

  test("npm run try -- bob is refused, and the policy says why", async () => {
    const { code, out: said } = await run("try.ts", "bob", "--state", stateDir);
    assert.deepEqual([code, /^ {2}403 .*not_allowed/m.test(said)], [0, true], said);
    const [, , ...explain] = EXPLAIN.split(" ");
    // Without --state the command finds .state/countersign.yaml by itself.
    const config = ["--config", join(stateDir, "countersign.yaml")];
    const explained = await run(
      "../../gateway/src/main.ts",
      ...explain.slice(0, 2),
      ...config,
      ...explain.slice(2),
    );
    assert.equal(explained.code, 1, explained.out);
    assert.match(explained.out, /refused.*is "us"/s);
  });

  test("npm run try -- tamper: the subscriber refuses the forged message with its code", async () => {
    const { code, out: said } = await run("try.ts", "tamper", "--state", stateDir);
    assert.deepEqual([code, /A subscriber refuses it: payload_changed\./.test(said)], [0, true], said);
    await printed(/✗ orders\.eu\.1\.create {2}refused: payload_changed/);
  });

  test("npm run token prints a token that the gateway takes", async () => {
    const { out: token } = await run("token.ts", "carol", "--state", stateDir);
    const response = await fetch(`http://127.0.0.1:${ports[0]}/v1/whoami`, {
      headers: { authorization: `Bearer ${token.trim()}` },
    });
    const { user, roles } = (await response.json()) as { user: string; roles: string[] };
    assert.deepEqual({ user, roles }, { user: "demo-carol", roles: ["auditor"] });
  });

  test("the administration listener says that all is ready, and takes a policy from carol alone", async () => {
    const admin = `http://127.0.0.1:${ports[3]}`;
    const readiness = await fetch(`${admin}/readyz`);
    assert.equal(readiness.status, 200, await readiness.text());
    const push = ["policy", "push", "--policy", "devstack/policy.yaml", "--to", admin];
    for (const [who, code] of [
      ["alice", 1],
      ["carol", 0],
    ] as const) {
      const { out: token } = await run("token.ts", who, "--state", stateDir);
      const pushed = await runWith({ COUNTERSIGN_TOKEN: token.trim() }, "../../gateway/src/main.ts", ...push);
      assert.equal(pushed.code, code, pushed.out);
    }
  });

  test("npm start names a busy port, who holds it, and the option that takes another", async () => {
    const busy = [`--gateway-port=${ports[0]}`, `--admin-port=${ports[3]}`];
    const { code, out: said } = await run("main.ts", ...busy, "--state", stateDir);
    assert.equal(code, 1);
    for (const [what, option, port] of [
      ["The gateway's", "--gateway-port", ports[0]],
      ["The administration listener's", "--admin-port", ports[3]],
    ]) {
      assert.match(said, new RegExp(`${what} port ${port} is taken by .*npm start -- ${option}`));
    }
  });

  test("Ctrl-C ends all of it and leaves no process", { skip: process.platform === "win32" }, async () => {
    main.kill("SIGINT");
    const [code] = await once(main, "close");
    assert.equal(code, 0, out);
    assert.deepEqual(await Promise.all(ports.map(isPortFree)), [true, true, true, true]);
    assert.deepEqual((await run("token.ts", "alice", "--state", stateDir)).code, 1);
    assert.equal((await readdir(stateDir)).includes("running.json"), false);
  });
});
