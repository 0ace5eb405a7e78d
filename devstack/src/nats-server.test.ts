import assert from "node:assert/strict";
import { chmod, mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { findNatsServer, type NatsFetcher, startNatsServer } from "./nats-server.ts";

/** Stands in for nats-server where only its version is asked. */
async function writeFake(path: string, version: string): Promise<void> {
  await writeFile(path, `#!/bin/sh\necho "nats-server: v${version}"\n`);
  await chmod(path, 0o755);
}

describe("findNatsServer()", { skip: process.platform === "win32" }, () => {
  let folder: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "find-nats-"));
  });
  after(() => rm(folder, { recursive: true }));

  const emptyFolder = async (): Promise<string> => await mkdtemp(join(folder, "empty-"));
  const fetcherOf = (version: string): NatsFetcher & { readonly calls: string[] } => {
    const calls: string[] = [];
    const fetch: NatsFetcher["fetch"] = ({ target }) => {
      calls.push(target);
      return writeFake(target, version);
    };
    return { name: version, calls, fetch };
  };
  const unreachable: NatsFetcher = {
    name: "the far end",
    fetch: () => Promise.reject(new Error("nobody there")),
  };

  test("findNatsServer() takes the one that COUNTERSIGN_NATS_SERVER names, and refuses it when it is too old", async () => {
    const named = join(await emptyFolder(), "mine");
    await writeFake(named, "2.12.8");
    const env = { COUNTERSIGN_NATS_SERVER: named, PATH: "" };
    assert.equal(await findNatsServer({ env, fetchers: [] }), named);
    await writeFake(named, "2.12.7");
    await assert.rejects(findNatsServer({ env, fetchers: [] }), {
      name: "DevstackError",
      message: `COUNTERSIGN_NATS_SERVER is ${named}: it is 2.12.7, needed is 2.12.8 or later.`,
    });
  });

  test("findNatsServer() passes over one on the path that is too old", async () => {
    const [old, good] = [await emptyFolder(), await emptyFolder()];
    await writeFake(join(old, "nats-server"), "2.9.10");
    await writeFake(join(good, "nats-server"), "2.15.0");
    const env = { PATH: `${old}:${good}` };
    assert.equal(await findNatsServer({ env, fetchers: [] }), join(good, "nats-server"));
  });

  test("findNatsServer() fetches once, however many ask at once, and keeps it", async () => {
    const [cacheFolder, fetcher] = [await emptyFolder(), fetcherOf("2.15.1")];
    const options = { env: { PATH: "" }, cacheFolder, fetchers: [unreachable, fetcher] };
    const found = await Promise.all([findNatsServer(options), findNatsServer(options)]);
    assert.deepEqual(found, [join(cacheFolder, "nats-server"), join(cacheFolder, "nats-server")]);
    assert.equal(await findNatsServer(options), found[0]);
    assert.equal(fetcher.calls.length, 1);
    assert.deepEqual(await readdir(cacheFolder), ["nats-server"]);
  });

  test("findNatsServer() takes over the lock of a process that is gone", async () => {
    const cacheFolder = await emptyFolder();
    await writeFile(join(cacheFolder, "lock"), "4194305");
    const options = { env: { PATH: "" }, cacheFolder, fetchers: [fetcherOf("2.15.1")] };
    assert.equal(await findNatsServer(options), join(cacheFolder, "nats-server"));
  });

  test("findNatsServer() says all that was tried and what to do, and keeps nothing unfit", async () => {
    const [cacheFolder, path] = [await emptyFolder(), await emptyFolder()];
    await mkdir(join(path, "nats-server"));
    const options = { env: { PATH: path }, cacheFolder, fetchers: [unreachable, fetcherOf("2.10.27")] };
    await assert.rejects(findNatsServer(options), (error: Error) => {
      assert.match(error.message, /the far end: nobody there/);
      assert.match(error.message, /2\.10\.27: it is 2\.10\.27, needed is 2\.12\.8 or later/);
      assert.match(error.message, /COUNTERSIGN_NATS_SERVER/);
      return true;
    });
    assert.deepEqual(await readdir(cacheFolder), []);
  });
});

describe("startNatsServer()", () => {
  test("startNatsServer() accepts connections when it fulfils, and none after stop()", async () => {
    const server = await startNatsServer({ config: "jetstream { store_dir: js }" });
    const socket = connect(server.port, "127.0.0.1");
    const info = await new Promise<Buffer>((resolve) => socket.once("data", resolve));
    assert.match(info.toString(), /^INFO .*"jetstream":true/);
    socket.destroy();
    await server.stop();
    await server.stop();
    const refused = await new Promise((resolve) => connect(server.port, "127.0.0.1").once("error", resolve));
    assert.equal((refused as NodeJS.ErrnoException).code, "ECONNREFUSED");
  });

  test("startNatsServer() rejects with the server's own words when the configuration is wrong", async () => {
    await assert.rejects(startNatsServer({ config: "authorization { user: " }), /Parse error on line 1/);
  });

  test("startNatsServer() listens on 127.0.0.1 whatever the configuration says", async () => {
    const server = await startNatsServer({ config: "listen: 0.0.0.0:4222" });
    assert.match(
      server.log(),
      new RegExp(`Listening for client connections on 127\\.0\\.0\\.1:${server.port}`),
    );
    await server.stop();
  });
});
