import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import { GatewayError } from "../errors.ts";
import { current, EMPTY_RING, mintSealKey, published, rotate } from "./ring.ts";
import { loadRing, saveRing } from "./ring-file.ts";

const NOW = 1_790_000_000;
const POSIX = process.platform !== "win32";
let folder: string;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "countersign-ring-"));
});
after(() => rm(folder, { recursive: true, force: true }));

function ringOfOne(): ReturnType<typeof rotate> {
  const ring = rotate(EMPTY_RING, NOW, mintSealKey);
  return published(ring, ring.keys[0]?.kid ?? "", NOW);
}

test("loadRing() reads what saveRing() wrote, and the key still signs", async () => {
  const state = join(folder, "new", "state");
  assert.deepEqual(await loadRing(state), EMPTY_RING);
  const ring = ringOfOne();
  await saveRing(state, ring);
  const read = await loadRing(state);
  const facts = ({ keys }: typeof ring): unknown => keys.map(({ privateKey, ...rest }) => rest);
  assert.deepEqual(facts(read), facts(ring));
  assert.ok(current(read, NOW)?.privateKey.equals(ring.keys[0]?.privateKey ?? mintSealKey().privateKey));
});

test("saveRing() writes for its owner alone, and loadRing() refuses what others may read", {
  skip: !POSIX,
}, async () => {
  const state = join(folder, "modes");
  await saveRing(state, ringOfOne());
  const path = join(state, "seal-keys.json");
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  assert.equal((await stat(state)).mode & 0o777, 0o700);
  for (const mode of [0o640, 0o604, 0o620]) {
    await chmod(path, mode);
    await assert.rejects(loadRing(state), (error) => {
      assert.ok(error instanceof GatewayError && error.code === "KEYS_INVALID");
      assert.match(error.message, /seal-keys\.json".*mode 0\d{3}.*chmod 600/);
      return true;
    });
  }
});

test("loadRing() refuses a damaged file without quoting it", async () => {
  const state = join(folder, "damaged");
  await saveRing(state, ringOfOne());
  const path = join(state, "seal-keys.json");
  const text = await readFile(path, "utf8");
  const secret = /"privateKey": "(.{40})/.exec(text)?.[1] ?? "";
  assert.notEqual(secret, "");
  const damages = [
    "",
    "{",
    text.slice(0, -10),
    text.replace(secret, secret.slice(1)),
    "x".repeat(70_000),
    "[]",
  ];
  for (const damage of damages) {
    await writeFile(path, damage);
    await assert.rejects(loadRing(state), (error) => {
      assert.ok(error instanceof GatewayError && error.code === "KEYS_INVALID", String(error));
      assert.ok(!error.message.includes(secret) && error.cause === undefined);
      return true;
    });
  }
});

test("loadRing() removes unfinished copies, since they hold private keys too", async () => {
  const state = join(folder, "leftovers");
  await saveRing(state, ringOfOne());
  await writeFile(join(state, "seal-keys.json.0123456789ab.new"), "{");
  await writeFile(join(state, "other.new"), "");
  await loadRing(state);
  assert.deepEqual((await readdir(state)).sort(), ["other.new", "seal-keys.json"]);
});

test("saveRing() survives kill -9 at any moment: the ring is whole, and no unfinished copy stays", async () => {
  const state = join(folder, "killed");
  const ringModule = JSON.stringify(pathToFileURL(join(import.meta.dirname, "ring.ts")).href);
  const fileModule = JSON.stringify(pathToFileURL(join(import.meta.dirname, "ring-file.ts")).href);
  const program = `
    import { rotate, mintSealKey } from ${ringModule};
    import { saveRing } from ${fileModule};
    let ring = { keys: [] };
    for (let now = 0; ; now += 31 * 86400) {
      ring = rotate(ring, now, mintSealKey);
      await saveRing(${JSON.stringify(state)}, ring);
      process.stdout.write(now + "\\n");
    }`;
  for (let kill = 0; kill < 6; kill++) {
    const child = spawn(process.execPath, ["--input-type=module", "-e", program], {
      stdio: ["ignore", "pipe", "ignore"],
    });
    let saves = 0;
    // After another number of saves each time, so that the kill meets another moment.
    for await (const chunk of child.stdout) {
      saves += String(chunk).split("\n").length - 1;
      if (saves > 3 + kill) break;
    }
    child.kill("SIGKILL");
    if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
    assert.ok((await loadRing(state)).keys.length > 0);
    assert.deepEqual(await readdir(state), ["seal-keys.json"]);
  }
});
