import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, type TestContext, test } from "node:test";
import { Command } from "commander";
import { parseConfig } from "../config/load.ts";
import { loadNatsKeys } from "../credentials/nats-keys.ts";
import { createNkey } from "../credentials/nkey.ts";
import { parsePolicy } from "../policy/parse.ts";
import { initCommand } from "./init.ts";

const NOW = 1_790_000_000;
const ACCOUNT = createNkey("account").publicKey;
const THREE_SERVERS = [
  "--public-url=https://apps.example.com/bus",
  "--servers=tls://nats1.example.com:4222,tls://nats2.example.com:4222,tls://nats3.example.com:4222",
];
const TO_EXISTING = [
  `--account=${ACCOUNT}`,
  "--public-url=https://apps.example.com/bus",
  "--servers=tls://nats.example.com:4222",
];

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "countersign-init-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function run(...args: readonly string[]): Promise<string> {
  let text = "";
  const print = (more: string): void => {
    text += more;
  };
  const program = new Command().exitOverride();
  const command = initCommand({
    out: print,
    err: print,
    stdin: () => assert.fail("nothing is read"),
    terminal: false,
    colours: false,
    env: {},
    cwd: folder,
    clock: () => NOW,
    exit: () => assert.fail("no exit code but success"),
    onHangup: () => {},
    signal: new AbortController().signal,
  });
  command.exitOverride().configureOutput({ writeOut: print, writeErr: print });
  await program.addCommand(command).parseAsync(["node", "countersign", "init", ...args]);
  return text;
}

/** Random keys and JWTs by kind, so that the rest can be compared to the letter. */
function normalised(text: string): string {
  return text
    .replaceAll(/eyJ[\w-]+\.[\w-]+\.[\w-]+/g, "<JWT>")
    .replaceAll(/\b([OAUX])[A-Z2-7]{55}\b/g, "<$1 key>")
    .replaceAll(folder, "<folder>");
}

function golden(t: TestContext, text: string, name: string): void {
  t.assert.fileSnapshot(normalised(text), join(import.meta.dirname, "golden", `init-${name}.txt`), {
    serializers: [(value) => String(value)],
  });
}

async function filesOf(path: string): Promise<Readonly<Record<string, string>>> {
  const names = (await readdir(path, { recursive: true })).sort();
  const files = await Promise.all(
    names.map(async (name) => {
      const file = join(path, name);
      return (await stat(file)).isFile() ? [name, await readFile(file, "utf8")] : undefined;
    }),
  );
  return Object.fromEntries(files.filter((file) => file !== undefined));
}

test("init makes a new cluster of three servers and says what is left to do", async (t) => {
  golden(t, await run(...THREE_SERVERS), "new");
  golden(t, await readFile(join(folder, "nats-server-nats2.example.com.conf"), "utf8"), "new-server");
  golden(t, await readFile(join(folder, "countersign.yaml"), "utf8"), "new-config");
  golden(t, await readFile(join(folder, "policy.yaml"), "utf8"), "new-policy");
  assert.equal((await loadNatsKeys(join(folder, "secrets", "nats"))).kind, "operator");
});

test("init makes a cluster whose accounts stand in the configuration, with what direct clients may reach", async (t) => {
  const direct = [
    "--direct-request=inventory.check",
    "--direct-subscribe=notices.>",
    "--direct-read-stream=ORDERS",
    "--direct-read-kv=carts",
  ];
  golden(t, await run("--kind=callout", "--loopback-without-tls", ...direct), "callout");
  golden(t, await readFile(join(folder, "nats-server.conf"), "utf8"), "callout-server");
  golden(t, await readFile(join(folder, "countersign.yaml"), "utf8"), "callout-config");
  const before = await filesOf(folder);
  await run("--kind=callout", "--loopback-without-tls");
  assert.deepEqual(await filesOf(folder), before);
  await assert.rejects(run("--loopback-without-tls"), {
    code: "KEYS_INVALID",
    message: /another kind of cluster/,
  });
});

test("init says of two servers that they are no better than one, and of other numbers nothing", async () => {
  const [one, two] = THREE_SERVERS[1]?.split(",") ?? [];
  const warning = /one of two stops when\neither is gone/;
  assert.match(await run("--public-url=https://a.example.com", `${one},${two}`, "--out=two"), warning);
  assert.doesNotMatch(await run("--public-url=https://a.example.com", `${one}`, "--out=one"), warning);
  assert.doesNotMatch(await run(...THREE_SERVERS, "--out=three"), warning);
});

test("init makes what a laptop needs, without TLS on loopback only", async (t) => {
  golden(t, await run("--loopback-without-tls", "--out", "try"), "laptop");
  golden(t, await readFile(join(folder, "try", "nats-server.conf"), "utf8"), "laptop-server");
});

test("init makes what is to be added to a cluster that is there already", async (t) => {
  golden(t, await run("--existing", ...TO_EXISTING), "existing");
  const keys = await loadNatsKeys(join(folder, "secrets", "nats"));
  assert.equal(keys.account, ACCOUNT);
  assert.equal(keys.system, undefined);
  golden(t, await run("--existing", ...TO_EXISTING), "existing-again");
});

test("init makes a signing key for a hosted cluster and states what is lost", async (t) => {
  golden(t, await run("--kind=hosted", ...TO_EXISTING), "hosted");
  golden(t, await readFile(join(folder, "countersign.yaml"), "utf8"), "hosted-config");
});

test("init run again changes nothing and says what is there", async (t) => {
  await run(...THREE_SERVERS);
  await writeFile(join(folder, "policy.yaml"), "mine");
  const before = await filesOf(folder);
  golden(t, await run(...THREE_SERVERS), "again");
  assert.deepEqual(await filesOf(folder), before);
  const json = JSON.parse(await run(...THREE_SERVERS, "--json"));
  assert.equal(json.created, false);
  assert.deepEqual(json.written, []);
});

test("init keeps its hands off a folder where a run ended half-way", async () => {
  await run(...THREE_SERVERS);
  await rm(join(folder, "secrets", "nats", "keys.json"));
  await rm(join(folder, "offline"), { recursive: true });
  const before = await filesOf(folder);
  await assert.rejects(run(...THREE_SERVERS), { code: "KEYS_INVALID" });
  assert.deepEqual(await filesOf(folder), before);
});

test("init never prints a private key, in text or JSON", async () => {
  const outputs = [
    await run(...THREE_SERVERS, "--json"),
    await run(...THREE_SERVERS),
    await run("--existing", ...TO_EXISTING, "--out=existing", "--json"),
    await run("--kind=hosted", ...TO_EXISTING, "--out=hosted"),
  ];
  const files = await filesOf(folder);
  const secret = files[join("secrets", "nats", "cluster.secret")]?.trim() ?? "";
  assert.equal(secret.length, 43);
  for (const output of outputs) {
    assert.ok(!/\bS[OAU][A-Z2-7]{56}\b/.test(output));
    assert.ok(!output.includes(secret));
  }
  assert.ok(Object.values(files).some((text) => /\bS[OAU][A-Z2-7]{56}\b/.test(text)));
});

test("init refuses in words what it cannot use", async () => {
  const refusals: readonly (readonly [readonly string[], RegExp])[] = [
    [[], /--public-url: expected where callers find the gateway/],
    [["--public-url=ftp://x"], /--public-url/],
    [["--public-url=https://a.example"], /--servers: expected servers like tls:/],
    [["--public-url=https://a.example", "--servers=nats://a:4222"], /found "nats:\/\/a:4222"/],
    [["--public-url=https://a.example", "--servers=tls://u:p@a:4222"], /--servers/],
    [["--account", ACCOUNT, ...THREE_SERVERS], /add --existing/],
    [["--existing", ...THREE_SERVERS], /--account: expected the public key/],
    [["--kind=callout", "--existing", ...THREE_SERVERS], /copy what init writes/],
    [["--direct-request=$SYS.>", ...THREE_SERVERS], /belongs to NATS itself/],
    [["--direct-subscribe=>", ...THREE_SERVERS], /belongs to NATS itself/],
    [["--direct-read-kv=a.b", ...THREE_SERVERS], /not the name of a stream or bucket/],
    [["--kind=hosted", "--direct-request=a", ...TO_EXISTING], /no callout can be set up/],
    [["--kind=hosted", `--account=${createNkey("user").publicKey}`, ...THREE_SERVERS], /begin with A/],
    [["--loopback-without-tls", "--servers=nats://10.0.0.1:4222"], /without TLS.*clear text/],
  ];
  for (const [args, message] of refusals) {
    await assert.rejects(run(...args), { code: "CONFIG_INVALID", message });
  }
  assert.deepEqual(await readdir(folder), []);
});

test("init writes a configuration that the gateway reads, whatever the kind", async () => {
  await run(...THREE_SERVERS);
  await run("--kind=hosted", ...TO_EXISTING, "--out=hosted");
  await run("--loopback-without-tls", "--out=laptop");
  await run("--kind=callout", "--loopback-without-tls", "--out=callout");
  for (const out of [".", "hosted", "laptop", "callout"]) {
    const file = join(folder, out, "countersign.yaml");
    const parsed = parseConfig(await readFile(file, "utf8"), { file });
    assert.ok(parsed.ok, JSON.stringify(parsed));
    assert.equal(parsed.config.nats.keys, join(folder, out, "secrets", "nats"));
    assert.equal(parsed.config.nats.mode, (await loadManifestKind(join(folder, out))) ?? "");
  }
});

test("init writes a policy that parses without a warning", async () => {
  await run("--loopback-without-tls");
  const text = await readFile(join(folder, "policy.yaml"), "utf8");
  const parsed = parsePolicy([{ path: "policy.yaml", text }]);
  assert.ok(parsed.ok, JSON.stringify(parsed));
  assert.deepEqual(parsed.warnings, []);
});

async function loadManifestKind(out: string): Promise<unknown> {
  return JSON.parse(await readFile(join(out, "secrets", "nats", "keys.json"), "utf8")).kind;
}
