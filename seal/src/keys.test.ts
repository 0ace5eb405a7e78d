import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { JWKS_BYTES_MAX, parseKeys } from "./jwks.ts";
import { fileKeySet, remoteKeySet, staticKeySet } from "./keys.ts";
import { createTestKey } from "./testing/sealing-key.ts";

const NOW = 1_795_000_000;

function jwkOf(kid: string, members: object = {}): object {
  return { ...createTestKey(kid, { nbf: NOW, exp: NOW + 1 }).jwk, ...members };
}

/** A key set over HTTP that tells what it was asked, in order: `set`, or the kid. */
async function serve(
  t: TestContext,
  answer: (kid: string | null) => unknown,
): Promise<{ url: string; asked: string[] }> {
  const asked: string[] = [];
  const url = await listen(t, (request, response) => {
    const kid = new URL(request.url ?? "", "http://x").searchParams.get("kid");
    asked.push(kid ?? "set");
    const body = answer(kid);
    response.writeHead(body === undefined ? 404 : 200).end(JSON.stringify(body ?? null));
  });
  return { url, asked };
}

async function listen(t: TestContext, listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return `http://127.0.0.1:${port}/jwks.json`;
}

test("remoteKeySet() asks once for many messages at once, and again after ten minutes", async (t) => {
  const { url, asked } = await serve(t, () => ({ keys: [jwkOf("a")] }));
  const keys = remoteKeySet({ url });
  const found = await Promise.all(Array.from({ length: 50 }, () => keys.get("a", NOW)));
  assert.ok(found.every((key) => key?.kid === "a"));
  await keys.get("a", NOW + 600);
  assert.deepEqual(asked, ["set"]);
  await keys.get("a", NOW + 601);
  assert.deepEqual(asked, ["set", "set"]);
});

test("remoteKeySet() asks for unknown kids at most once a minute, for all of them together", async (t) => {
  const { url, asked } = await serve(t, (kid) => (kid === null ? { keys: [jwkOf("a")] } : undefined));
  const keys = remoteKeySet({ url });
  await keys.get("a", NOW);
  assert.equal(await keys.get("b", NOW + 1), undefined);
  assert.equal(await keys.get("b", NOW + 2), undefined);
  const others = Array.from({ length: 100 }, (_, index) => keys.get(`c${index}`, NOW + 3));
  for (const { status } of await Promise.allSettled(others)) assert.equal(status, "rejected");
  assert.deepEqual(asked, ["set", "set", "b"]);
  assert.equal(await keys.get("c0", NOW + 62), undefined);
  assert.deepEqual(
    asked.slice(3).toSorted(),
    ["set", ...Array.from({ length: 16 }, (_, index) => `c${index}`)].toSorted(),
  );
});

test("remoteKeySet() finds a key that came into use since, and a historical one", async (t) => {
  const keysNow = [jwkOf("a")];
  const { url, asked } = await serve(t, (kid) => ({ keys: kid === "past" ? [jwkOf("past")] : keysNow }));
  const keys = remoteKeySet({ url });
  await keys.get("a", NOW);
  keysNow.push(jwkOf("next"));
  assert.equal((await keys.get("next", NOW + 1))?.kid, "next");
  assert.equal((await keys.get("past", NOW + 100))?.kid, "past");
  assert.equal((await keys.get("past", NOW + 101))?.kid, "past");
  assert.deepEqual(asked, ["set", "set", "set", "past"]);
});

test("remoteKeySet() takes no other key for the one it asked for", async (t) => {
  const { url } = await serve(t, (kid) => ({ keys: kid === null ? [] : [jwkOf("mallory")] }));
  assert.equal(await remoteKeySet({ url }).get("b", NOW), undefined);
});

test("remoteKeySet() serves what it holds for an hour while its source fails, and tries every five seconds", async (t) => {
  let isDown = false;
  const { url, asked } = await serve(t, () => (isDown ? undefined : { keys: [jwkOf("a")] }));
  const keys = remoteKeySet({ url });
  await keys.get("a", NOW);
  isDown = true;
  for (const second of [601, 602, 606, 607]) assert.equal((await keys.get("a", NOW + second))?.kid, "a");
  assert.equal(asked.length, 3);
  await assert.rejects(keys.get("a", NOW + 3_601));
  isDown = false;
  assert.equal((await keys.get("a", NOW + 3_607))?.kid, "a");
});

test("remoteKeySet() notices a revocation with the next set", async (t) => {
  let members = {};
  const { url } = await serve(t, () => ({ keys: [jwkOf("a", members)] }));
  const keys = remoteKeySet({ url });
  assert.equal((await keys.get("a", NOW))?.revoked, false);
  members = { revoked: { revoked_at: NOW } };
  assert.equal((await keys.get("a", NOW + 601))?.revoked, true);
});

test("remoteKeySet() follows no redirect", async (t) => {
  const { url: elsewhere, asked } = await serve(t, () => ({ keys: [jwkOf("a")] }));
  const url = await listen(t, (_, response) => response.writeHead(302, { location: elsewhere }).end());
  await assert.rejects(remoteKeySet({ url }).get("a", NOW));
  assert.deepEqual(asked, []);
});

test("remoteKeySet() refuses an answer over 256 KiB", async (t) => {
  const url = await listen(t, (_, response) => response.end(`{"keys":[]${" ".repeat(JWKS_BYTES_MAX)}}`));
  await assert.rejects(remoteKeySet({ url }).get("a", NOW), RangeError);
});

test("remoteKeySet() refuses JSON with duplicate keys, and 500", async (t) => {
  const twice = await listen(t, (_, response) => response.end('{"keys":[],"keys":[]}'));
  await assert.rejects(remoteKeySet({ url: twice }).get("a", NOW), TypeError);
  const broken = await listen(t, (_, response) => response.writeHead(500).end());
  await assert.rejects(remoteKeySet({ url: broken }).get("a", NOW), /found 500/);
});

test("remoteKeySet() gives its request five seconds", async () => {
  let signal: AbortSignal | null | undefined;
  const keys = remoteKeySet({
    url: "https://a.example/jwks.json",
    fetch: async (_, init) => {
      signal = init?.signal;
      return new Response('{"keys":[]}');
    },
  });
  await keys.get("a", NOW);
  assert.ok(signal instanceof AbortSignal && !signal.aborted);
});

for (const url of [
  "http://a.example/jwks",
  "http://127.0.0.1.a.example/",
  "file:///etc/jwks",
  "https://u:p@a.example/",
  "https://u@a.example/",
  "jwks",
]) {
  test(`remoteKeySet() refuses ${url}`, () => {
    assert.throws(() => remoteKeySet({ url }), TypeError);
  });
}

test("fileKeySet() reads a file, and again for an unknown kid", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "countersign-keys-"));
  t.after(() => rm(folder, { recursive: true }));
  const path = join(folder, "jwks.json");
  await writeFile(path, JSON.stringify({ keys: [jwkOf("a")] }));
  const keys = fileKeySet(path);
  assert.equal((await keys.get("a", NOW))?.kid, "a");
  await writeFile(path, JSON.stringify({ keys: [jwkOf("b")] }));
  assert.equal((await keys.get("b", NOW + 1))?.kid, "b");
  await writeFile(path, " ".repeat(JWKS_BYTES_MAX + 1));
  await assert.rejects(keys.get("c", NOW + 100), RangeError);
});

test("parseKeys() passes over keys that are not for sealing", () => {
  const jwks = [
    jwkOf("a", { kty: "RSA" }),
    jwkOf("b", { crv: "P-384" }),
    jwkOf("c", { alg: "ES384" }),
    jwkOf("d", { use: "enc" }),
    jwkOf("e", { nbf: undefined }),
    jwkOf("f", { exp: "1" }),
    jwkOf("../g"),
    jwkOf("h", { x: "A".repeat(43) }),
    null,
    jwkOf("z"),
  ];
  assert.deepEqual([...parseKeys({ keys: jwks }).keys()], ["z"]);
});

test("parseKeys() refuses two keys of one kid, over 200 keys, and what is no set", () => {
  assert.throws(() => parseKeys({ keys: [jwkOf("a"), jwkOf("a")] }), /kid a/);
  for (const jwks of [{ keys: Array(201).fill({}) }, { keys: {} }, [], null, "keys"])
    assert.throws(() => parseKeys(jwks), TypeError);
});

test("parseKeys() never holds the private half", () => {
  const { key, jwk } = createTestKey("a", { nbf: NOW, exp: NOW });
  const withBoth = { ...jwk, ...key.privateKey.export({ format: "jwk" }) };
  assert.equal(parseKeys({ keys: [withBoth] }).get("a")?.key.type, "public");
});

test("staticKeySet() knows its keys and no others", async () => {
  const keys = staticKeySet({ keys: [jwkOf("a")] });
  assert.equal((await keys.get("a", NOW))?.kid, "a");
  assert.equal(await keys.get("b", NOW), undefined);
});
