import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { testServer } from "../endpoints/testing/server.ts";
import { listen } from "./listen.ts";

test("listen() takes a free port and says which", async () => {
  const app = testServer();
  assert.match(await listen(app, { host: "127.0.0.1", port: 0 }), /^127\.0\.0\.1:[1-9]\d*$/);
  await app.close();
});

test("listen() says of an address that is not this machine's what to do", async () => {
  // RFC 5737: nobody has it.
  await assert.rejects(listen(testServer(), { host: "192.0.2.1", port: 0 }), {
    code: "LISTEN_FAILED",
    message:
      "Cannot listen on 192.0.2.1:0: this machine has no such address; choose one it has, such as 127.0.0.1",
  });
});

describe("listen() on a Unix socket", { skip: process.platform === "win32" }, () => {
  const folder = mkdtempSync(join(tmpdir(), "countersign-listen-"));
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }));

  test("lets its group in and nobody else, and takes its file away at the end", async () => {
    const path = join(folder, "own");
    const app = testServer();
    assert.equal(await listen(app, { path }), path);
    assert.equal(statSync(path).mode & 0o777, 0o660);
    await app.close();
    assert.throws(() => statSync(path), { code: "ENOENT" });
  });

  test("takes nobody's place who answers", async () => {
    const path = join(folder, "taken");
    const other = createServer().listen(path);
    await once(other, "listening");
    await assert.rejects(listen(testServer(), { path }), { code: "LISTEN_FAILED" });
    assert(statSync(path).isSocket());
    other.close();
  });

  test("removes no file that is not a socket", async () => {
    const path = join(folder, "file");
    writeFileSync(path, "precious");
    await assert.rejects(listen(testServer(), { path }), { code: "LISTEN_FAILED" });
    assert.equal(readFileSync(path, "utf8"), "precious");
  });
});
