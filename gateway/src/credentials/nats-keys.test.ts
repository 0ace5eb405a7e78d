import assert from "node:assert/strict";
import { chmod, copyFile, cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { inspect } from "node:util";
import { GatewayError } from "../errors.ts";
import { formatCreds, parseCreds } from "./creds.ts";
import { addToCluster, initKeys } from "./init.ts";
import { loadNatsKeys } from "./nats-keys.ts";
import { createNkey, type Nkey, nkeyFromSeed } from "./nkey.ts";
import { plainUserJwt } from "./testing/user.ts";

const NOW = 1_790_000_000;
let folder: string;
let keysDirectory: string;
let copies = 0;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "countersign-keys-"));
  keysDirectory = join(folder, "keys");
  await initKeys({ keysDirectory, offlineDirectory: join(folder, "offline"), servers: [], now: NOW });
});
after(() => rm(folder, { recursive: true, force: true }));

/** A copy of good keys, to be spoilt. */
async function copy(): Promise<string> {
  const target = join(folder, `copy${copies++}`);
  await cp(keysDirectory, target, { recursive: true });
  return target;
}

async function assertInvalid(directory: string, file: string, found: RegExp): Promise<void> {
  await assert.rejects(loadNatsKeys(directory), (error) => {
    assert.ok(error instanceof GatewayError && error.code === "KEYS_INVALID", inspect(error));
    assert.ok(error.message.includes(join(directory, file)), error.message);
    assert.match(error.message, found);
    assert.ok(!/S[OAU][A-Z2-7]{56}/.test(error.message), "no seed in a message");
    return true;
  });
}

test("loadNatsKeys() loads what init wrote, and shows no seed", async () => {
  const keys = await loadNatsKeys(keysDirectory);
  assert.equal(keys.kind, "operator");
  assert.equal(keys.signingKey.kind, "account");
  assert.equal(keys.proxyKey?.kind, "user");
  assert.equal(keys.control.inboxPrefix, "_INBOX.countersign");
  const accounts = [keys.account, keys.control.account, keys.system?.account];
  assert.equal(new Set(accounts).size, 3);
  const shown = inspect(keys, { depth: 9, showHidden: true, getters: true }) + JSON.stringify(keys);
  assert.ok(!/\bS[OAU][A-Z2-7]{56}\b/.test(shown));
});

test("loadNatsKeys() does without a system user, and without a proxy key on a hosted cluster", async () => {
  const directory = await copy();
  await rm(join(directory, "system.creds"));
  assert.equal((await loadNatsKeys(directory)).system, undefined);
  const hosted = join(folder, "hosted");
  const accountPublicKey = createNkey("account").publicKey;
  const options = {
    keysDirectory: hosted,
    offlineDirectory: join(folder, "none"),
    accountPublicKey,
    now: NOW,
  };
  assert.equal((await addToCluster({ ...options, kind: "hosted" })).created, true);
  await assertInvalid(hosted, "control.creds", /there is no such file/);
  await copyFile(join(keysDirectory, "control.creds"), join(hosted, "control.creds"));
  const keys = await loadNatsKeys(hosted);
  assert.deepEqual([keys.kind, keys.proxyKey, keys.account], ["hosted", undefined, accountPublicKey]);
  assert.equal((await addToCluster({ ...options, kind: "hosted" })).created, false);
  await assert.rejects(addToCluster({ ...options, kind: "operator" }), { code: "KEYS_INVALID" });
  await assert.rejects(initKeys({ ...options, servers: [] }), { code: "KEYS_INVALID" });
});

test("loadNatsKeys() names the file that is missing", async () => {
  for (const file of ["keys.json", "signing.nk", "proxy.nk", "cluster.secret", "control.creds"]) {
    const directory = await copy();
    await rm(join(directory, file));
    await assertInvalid(directory, file, /there is (no such file|none)\. .*init/);
  }
});

test("loadNatsKeys() refuses every file that others may read", {
  skip: process.platform === "win32",
}, async () => {
  const files = ["keys.json", "signing.nk", "proxy.nk", "cluster.secret", "control.creds", "system.creds"];
  for (const file of files) {
    const directory = await copy();
    await chmod(join(directory, file), 0o640);
    await assertInvalid(directory, file, /others may read it \(mode 0640\).*chmod 600/);
  }
});

test("loadNatsKeys() refuses keys that do not belong together", async () => {
  const other = join(folder, "other");
  await initKeys({
    keysDirectory: other,
    offlineDirectory: join(folder, "other-off"),
    servers: [],
    now: NOW,
  });
  for (const file of ["signing.nk", "proxy.nk"]) {
    const directory = await copy();
    await copyFile(join(other, file), join(directory, file));
    await assertInvalid(directory, file, /and keys\.json says/);
  }
});

test("loadNatsKeys() refuses damaged files", async () => {
  const damages: readonly (readonly [string, (text: string) => string, RegExp])[] = [
    ["signing.nk", (text) => text.slice(0, -3), /not the seed of a NATS key/],
    ["proxy.nk", () => "x".repeat(2000), /2000 bytes, at most 1024/],
    ["cluster.secret", () => "c2hvcnQ", /not 32 bytes/],
    ["control.creds", (text) => text.replace("BEGIN NATS", "BEGIN"), /no block NATS USER JWT/],
    ["control.creds", (text) => text.replace("USER NKEY SEED-", "USER NKEY-"), /no block USER NKEY SEED/],
    ["system.creds", (text) => text.replace("eyJ0eXAi", "eyJ0eXAj"), /signature is wrong/],
    ["keys.json", () => "{}", /not what init writes/],
    ["keys.json", (text) => text.replace('"version": 1', '"version": 2'), /not what init writes/],
    ["keys.json", (text) => text.replace('"kind": "operator"', '"kind": "hosted"'), /not what init writes/],
    ["keys.json", (text) => text.replace(/ {2}"proxyKey": "U\w+",\n/, ""), /not what init writes/],
    ["keys.json", (text) => text.replace('"name": "SYS"', '"name": "S\\n"'), /not what init writes/],
  ];
  for (const [file, damage, found] of damages) {
    const directory = await copy();
    const text = await readFile(join(directory, file), "utf8");
    const damaged = damage(text);
    assert.notEqual(damaged, text, file);
    await writeFile(join(directory, file), damaged);
    await assertInvalid(directory, file, found);
  }
});

test("loadNatsKeys() refuses a control user in the account whose users the gateway mints", async () => {
  const directory = await copy();
  const signing = nkeyFromSeed((await readFile(join(directory, "signing.nk"), "utf8")).trim());
  assert.ok(signing);
  const { account } = await loadNatsKeys(directory);
  await writeFile(join(directory, "control.creds"), userCreds(signing, createNkey("user"), account));
  await assertInvalid(directory, "control.creds", /a user of the account whose users the gateway mints/);
});

test("parseCreds() reads what formatCreds() wrote, and refuses a seed that is another's", () => {
  const [account, user] = [createNkey("account"), createNkey("user")];
  const text = userCreds(account, user, account.publicKey);
  for (const same of [text, text.replaceAll("\n", "\r\n")]) {
    const creds = parseCreds(same);
    assert.ok(typeof creds === "object");
    assert.equal(creds.userKey.publicKey, user.publicKey);
    assert.equal(creds.claims.account, account.publicKey);
  }
  const mixed = parseCreds(text.replace(user.exportSeed(), createNkey("user").exportSeed()));
  assert.match(String(mixed), /its seed belongs to U\w+, its JWT to another/);
  const seedOfAccount = parseCreds(text.replace(user.exportSeed(), account.exportSeed()));
  assert.match(String(seedOfAccount), /its seed is not a user's/);
});

function userCreds(signer: Nkey, userKey: Nkey, account: string): string {
  return formatCreds(plainUserJwt({ signer, account, userKey, now: NOW }), userKey);
}
