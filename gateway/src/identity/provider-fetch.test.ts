import assert from "node:assert/strict";
import { createServer, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { type AddressInfo, createServer as createTcpServer } from "node:net";
import { test } from "node:test";
import { getCACertificates, setDefaultCACertificates } from "node:tls";
import { isLoopbackHost, mayConnect } from "./addresses.ts";
import { createProviderFetch, REQUESTS_MAX } from "./provider-fetch.ts";
import { startTestIssuer } from "./testing/issuer.ts";

test("mayConnect() keeps providers to the addresses where they may stand", () => {
  const loopback = ["127.0.0.1", "127.255.0.9", "::1", "::ffff:127.0.0.1"];
  const inside = [
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "100.64.0.1",
    "fd00::1",
    "::ffff:10.0.0.1",
  ];
  const outside = ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8"];
  const never = [
    ...[
      "169.254.169.254",
      "::ffff:169.254.169.254",
      "0.0.0.0",
      "::",
      "::ffff:0:0",
      "224.0.0.1",
      "255.255.255.255",
    ],
    ...["fe80::1", "fec0::1", "ff02::1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:db8::1", "192.0.2.1"],
    ...["", "localhost", "127.1", "0x7f000001", "2130706433", "fe80::1%eth0", "fd00::1%eth0"],
  ];
  const reachOf = (address: string): string =>
    (["loopback", "private", "public"] as const).filter((reach) => mayConnect(address, reach)).join();
  for (const address of loopback) assert.equal(reachOf(address), "loopback", address);
  for (const address of inside) assert.equal(reachOf(address), "private", address);
  for (const address of outside) assert.equal(reachOf(address), "private,public", address);
  for (const address of never) assert.equal(reachOf(address), "", address);
});

test("isLoopbackHost() knows this machine by its own names only", () => {
  for (const host of ["localhost", "127.0.0.1", "127.9.9.9", "[::1]"])
    assert.equal(isLoopbackHost(host), true, host);
  for (const host of ["localhost.evil.example", "127.0.0.1.nip.io", "[::2]", "10.0.0.1", "localhos"]) {
    assert.equal(isLoopbackHost(host), false, host);
  }
});

test("providerFetch() connects to no address that was not checked: a name is resolved once", async () => {
  await using issuer = await startTestIssuer();
  const port = new URL(issuer.url).port;
  let resolved = 0;
  // The first answer is harmless, the next would be this machine: DNS rebinding.
  const resolve = async () => [{ address: resolved++ === 0 ? "127.0.0.1" : "169.254.169.254", family: 4 }];
  const fetch = createProviderFetch({ reach: "loopback", resolve });
  assert.equal((await fetch(`http://rebinding.example:${port}/jwks`)).status, 200);
  assert.equal(resolved, 1);
  await assert.rejects(fetch(`http://rebinding.example:${port}/jwks`), {
    message: "Cannot connect to 169.254.169.254: not an address where this provider may stand",
  });
  assert.deepEqual(issuer.requests, ["/jwks"]);
});

test("providerFetch() refuses a name if any of its addresses is wrong, and an address that is wrong itself", async () => {
  await using issuer = await startTestIssuer();
  const port = new URL(issuer.url).port;
  const addresses = [
    { address: "8.8.8.8", family: 4 },
    { address: "127.0.0.1", family: 4 },
  ];
  const fetch = createProviderFetch({ reach: "public", resolve: async () => addresses });
  const refusal = { message: "Cannot connect to 127.0.0.1: not an address where this provider may stand" };
  await assert.rejects(fetch(`https://id.example:${port}/jwks`), refusal);
  await assert.rejects(fetch(`https://127.0.0.1:${port}/jwks`), refusal);
  await assert.rejects(fetch("https://[::1]/jwks"), /Cannot connect to ::1/);
  await assert.rejects(
    createProviderFetch({ reach: "private", resolve: async () => [] })("https://id.example"),
    {
      message: "No address for id.example",
    },
  );
  assert.deepEqual(issuer.requests, []);
});

test("providerFetch() speaks plain HTTP only to this machine", async () => {
  const message = "Cannot ask id.example: the URL must begin with https://";
  for (const reach of ["public", "private"] as const) {
    await assert.rejects(createProviderFetch({ reach })("http://id.example/"), { message });
  }
  await assert.rejects(createProviderFetch({ reach: "loopback" })("ftp://id.example/"), { message });
});

test("providerFetch() ends in time, whether the provider says nothing or drips", async () => {
  const silent = createTcpServer(() => {});
  const dripping = createServer((_, response) => {
    const drip = setInterval(() => response.write("x"), 20);
    response.on("close", () => clearInterval(drip));
  });
  for (const server of [silent, dripping]) {
    const sockets = new Set<{ destroy(): void }>();
    server.on("connection", (socket) => sockets.add(socket));
    await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
    const { port } = server.address() as AddressInfo;
    const fetch = createProviderFetch({ reach: "loopback", timeoutMs: 150 });
    await assert.rejects(fetch(`http://127.0.0.1:${port}/`), {
      message: `No full answer from 127.0.0.1:${port} within 150 ms`,
    });
    for (const socket of sockets) socket.destroy();
    await new Promise((done) => server.close(done));
  }
});

test("providerFetch() bounds the requests under way, and counts those that failed as done", async () => {
  await using issuer = await startTestIssuer();
  const waiting: ServerResponse[] = [];
  let all = (): void => {};
  const arrived = new Promise<void>((resolve) => {
    all = resolve;
  });
  issuer.answers.set("/slow", (_, response) => void (waiting.push(response) === REQUESTS_MAX && all()));
  const fetch = createProviderFetch({ reach: "loopback" });
  for (let n = 0; n < 2 * REQUESTS_MAX; n++) await assert.rejects(fetch("ftp://id.example/"));
  const requests = Array.from({ length: REQUESTS_MAX }, () => fetch(`${issuer.url}/slow`));
  await arrived;
  const message = "More than 64 requests to the provider are under way";
  await assert.rejects(fetch(`${issuer.url}/jwks`), { message });
  for (const response of waiting) response.end();
  await Promise.all(requests);
  assert.equal((await fetch(`${issuer.url}/jwks`)).status, 200);
});

test("providerFetch() rejects when the connection breaks in the middle", async () => {
  const server = createServer((_, response) => {
    response.writeHead(200, { "content-length": "100" });
    response.write("half", () => response.destroy());
  });
  await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
  const { port } = server.address() as AddressInfo;
  await assert.rejects(createProviderFetch({ reach: "loopback" })(`http://127.0.0.1:${port}/`));
  await new Promise((done) => server.close(done));
});

test("providerFetch() trusts no certificate but a known authority's for the very name, on a pinned address too", async () => {
  const { cert, key } = await createCertificate("id.example");
  const server = createTlsServer({ cert, key }, (_, response) => response.end("hello"));
  await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
  const { port } = server.address() as AddressInfo;
  const resolve = async () => [{ address: "127.0.0.1", family: 4 }];
  const fetch = createProviderFetch({ reach: "loopback", resolve });
  await assert.rejects(fetch(`https://id.example:${port}/`), { code: "DEPTH_ZERO_SELF_SIGNED_CERT" });
  setDefaultCACertificates([...getCACertificates("default"), cert]);
  assert.equal((await fetch(`https://id.example:${port}/`)).body.toString(), "hello");
  await assert.rejects(fetch(`https://other.example:${port}/`), { code: "ERR_TLS_CERT_ALTNAME_INVALID" });
  server.closeAllConnections();
  await new Promise((done) => server.close(done));
});

/** Signed by itself, valid for an hour. */
async function createCertificate(dns: string): Promise<{ readonly cert: string; readonly key: string }> {
  // The library insists on a metadata polyfill for its dependency injection, and then asks it nothing it needs.
  Object.assign(Reflect, { getMetadata() {}, getOwnMetadata() {}, defineMetadata() {} });
  const x509 = await import("@peculiar/x509");
  const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
  const keys = await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: `CN=${dns}`,
    keys,
    signingAlgorithm: algorithm,
    notBefore: new Date(Date.now() - 60_000),
    notAfter: new Date(Date.now() + 3_600_000),
    extensions: [new x509.SubjectAlternativeNameExtension([{ type: "dns", value: dns }])],
  });
  const pkcs8 = await crypto.subtle.exportKey("pkcs8", keys.privateKey);
  return { cert: certificate.toString("pem"), key: x509.PemConverter.encode(pkcs8, "PRIVATE KEY") };
}
