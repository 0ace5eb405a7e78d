import assert from "node:assert/strict";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { inspect } from "node:util";
import { GatewayError } from "../errors.ts";
import { createSecretFile, isOpenToOthers, readSecretFile } from "./secret-file.ts";
import { clusterSecretOf, createClusterSecretText, loadClusterSecret } from "./secrets.ts";

const HKDF_OF_INBOX = "6961189165e8e6e57c8e222bb4b4bc6c55c3af650029e0a711e15d059f928d33";
let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "countersign-secrets-"));
});
after(() => rm(folder, { recursive: true, force: true }));

test("ClusterSecret derives one subkey per label, the same each time, and shows nothing", () => {
  const secret = clusterSecretOf(Buffer.alloc(32, 7));
  // RFC 5869 with SHA-256, computed once with another implementation.
  assert.equal(secret.subkey("inbox").toString("hex"), HKDF_OF_INBOX);
  assert.deepEqual(secret.subkey("inbox"), clusterSecretOf(Buffer.alloc(32, 7)).subkey("inbox"));
  const labels = [
    "login-state",
    "refresh-token",
    "ack-handle",
    "idempotent-id",
    "native-message-id",
    "inbox",
  ] as const;
  assert.equal(new Set(labels.map((label) => secret.subkey(label).toString("hex"))).size, labels.length);
  assert.ok(!/07|BwcH/.test(inspect(secret, { depth: 9, showHidden: true }) + JSON.stringify(secret)));
});

test("loadClusterSecret() reads what createClusterSecretText() made and refuses anything else", async () => {
  const path = join(folder, "cluster.secret");
  await createSecretFile(path, "the cluster secret", `${createClusterSecretText()}\n`);
  assert.equal((await loadClusterSecret(path)).subkey("inbox").length, 32);
  for (const text of [
    "",
    "short",
    `${"A".repeat(43)}=`,
    `${"A".repeat(42)}B`,
    "!".repeat(43),
    "A".repeat(300),
  ]) {
    await writeFile(path, text);
    await assert.rejects(loadClusterSecret(path), { code: "KEYS_INVALID" });
  }
  await assert.rejects(loadClusterSecret(join(folder, "none")), /there is none.*countersign init/);
});

test("createSecretFile() never replaces a file", async () => {
  const path = join(folder, "once");
  await createSecretFile(path, "the key", "one");
  await assert.rejects(createSecretFile(path, "the key", "two"), (error) => {
    assert.ok(error instanceof GatewayError && error.code === "KEYS_INVALID");
    assert.match(error.message, /Cannot use the key, ".*once": there is one already\./);
    return true;
  });
  assert.equal(await readSecretFile(path, "the key", 10), "one");
});

test("readSecretFile() refuses a folder, a large file, and one that others may read", async () => {
  await assert.rejects(readSecretFile(folder, "the key", 10), { code: "KEYS_INVALID" });
  const path = join(folder, "large");
  await createSecretFile(path, "the key", "12345678901");
  await assert.rejects(readSecretFile(path, "the key", 10), /11 bytes, at most 10/);
  if (process.platform === "win32") return;
  await chmod(path, 0o644);
  await assert.rejects(readSecretFile(path, "the key", 20), /others may read it \(mode 0644\)/);
});

test("isOpenToOthers() allows only the owner, and the group only where root hands the file over", () => {
  const [root, own, another] = [0, 1000, 1001];
  const closed: readonly (readonly [mode: number, uid: number, ownUid: number])[] = [
    [0o100600, own, own],
    [0o100400, own, own],
    [0o100600, root, root],
    [0o100440, root, own],
    [0o100640, root, own],
  ];
  const open: typeof closed = [
    [0o100640, own, own],
    [0o100604, own, own],
    [0o100620, own, own],
    [0o100640, root, root],
    [0o100640, another, own],
    [0o100660, root, own],
    [0o100644, root, own],
  ];
  for (const [mode, uid, ownUid] of closed) assert.equal(isOpenToOthers({ mode, uid }, ownUid), false);
  for (const [mode, uid, ownUid] of open) assert.equal(isOpenToOthers({ mode, uid }, ownUid), true);
});
