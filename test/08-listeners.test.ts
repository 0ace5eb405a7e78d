/** Where the gateway listens: under a base path, with TLS, on a socket; and where it refuses to. */
import assert from "node:assert/strict";
import { type SpawnSyncReturns, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, request as requestHttp } from "node:http";
import { request } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { connect as connectTls } from "node:tls";
import { fileURLToPath } from "node:url";
import { startGateway } from "@countersign/devstack/gateway-process.ts";
import { findFreePort } from "@countersign/devstack/ports.ts";
import { followCertificate, listen, readCertificate } from "countersign/compose/listen.ts";
import { loadConfig } from "countersign/config/load.ts";
import { createEndpointServer } from "countersign/endpoints/server.ts";
import { type JsonObject, send, startTestStack, type TestStack } from "./support.ts";

// The library insists on a metadata polyfill for its dependency injection, and then asks it nothing it needs.
Object.assign(Reflect, { getMetadata() {}, getOwnMetadata() {}, defineMetadata() {} });
const x509 = await import("@peculiar/x509");

const MAIN = fileURLToPath(new URL("../gateway/src/main.ts", import.meta.url));

let stack: TestStack;
/** Everything but a gateway: each test starts the one it is about. */
before(async () => {
  stack = await startTestStack({ gateway: false });
});
after(() => stack?.stop());

interface Place {
  readonly publicUrl?: string;
  readonly listen: string;
  readonly more?: string;
}

/** Writes a configuration that listens elsewhere. @returns its path */
function configure(name: string, { publicUrl = stack.gatewayUrl, listen, more = "" }: Place): string {
  const text = readFileSync(stack.configFile, "utf8")
    .replace(/^public-url: .*$/m, `public-url: ${publicUrl}`)
    .replace(/^listen: .*$/m, `listen: ${listen}`);
  const file = join(stack.stateDir, `${name}.yaml`);
  writeFileSync(file, `${text}instance: ${name}\n${more}`);
  return file;
}

/** Runs `serve` to its end, which comes by itself when it cannot start. */
function serve(configFile: string): SpawnSyncReturns<string> {
  return spawnSync(process.execPath, [MAIN, "serve", "--config", configFile], {
    encoding: "utf8",
    timeout: 20_000,
  });
}

test("under a base path everything hangs below it, and only RFC 9728's metadata at the root", async () => {
  const port = await findFreePort();
  const origin = `http://127.0.0.1:${port}`;
  const publicUrl = `${origin}/apps/bus`;
  const configFile = configure("based", { publicUrl, listen: `{ address: '127.0.0.1:${port}' }` });
  const gateway = await startGateway({ configFile, publicUrl });
  try {
    const token = stack.token("alice");
    const post = { method: "POST", token };
    assert.equal((await send(`${publicUrl}/v1/publish?subject=orders.eu.1.create`, post)).status, 202);
    assert.equal((await send(`${origin}/v1/publish?subject=orders.eu.1.create`, post)).status, 404);
    assert.equal((await send(`${publicUrl}/.well-known/jwks.json`, {})).status, 200);
    // The devstack's provider knows no callback down here, and says so: the entrance is there.
    assert.equal((await send(`${publicUrl}/auth/login`, {})).json().code, "invalid_login");

    const place = `${origin}/.well-known/oauth-protected-resource/apps/bus`;
    assert.deepEqual((await send(place, {})).json(), {
      resource: publicUrl,
      authorization_servers: [stack.identityProvider.issuer],
      bearer_methods_supported: ["header"],
    });
    const unproved = await send(`${publicUrl}/v1/whoami`, {});
    assert.equal(unproved.headers["www-authenticate"], `Bearer resource_metadata="${place}"`);
    assert.equal(unproved.json().type, `${publicUrl}/problems/unauthenticated`);
  } finally {
    await gateway.stop();
  }
});

/** A certificate for 127.0.0.1 that signs itself, as PEM. */
async function selfSigned(name = "gateway"): Promise<{ readonly cert: string; readonly key: string }> {
  const signingAlgorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
  const keys = await crypto.subtle.generateKey(signingAlgorithm, true, ["sign", "verify"]);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: `CN=${name}`,
    notBefore: new Date(Date.now() - 60_000),
    notAfter: new Date(Date.now() + 3_600_000),
    keys,
    signingAlgorithm,
    extensions: [new x509.SubjectAlternativeNameExtension([{ type: "ip", value: "127.0.0.1" }])],
  });
  const pkcs8 = await crypto.subtle.exportKey("pkcs8", keys.privateKey);
  return { cert: certificate.toString("pem"), key: x509.PemConverter.encode(pkcs8, "PRIVATE KEY") };
}

/** Waits for what no event tells: that a process of its own has come so far. */
async function eventually<T>(look: () => Promise<T>): Promise<T> {
  const giveUpAt = performance.now() + 15_000;
  for (;;) {
    try {
      return await look();
    } catch (error) {
      if (performance.now() > giveUpAt) throw error;
      await delay(25);
    }
  }
}

test("with a certificate HTTPS is served, and the administration listener says what is ready", async () => {
  const port = await findFreePort();
  const adminPort = await findFreePort();
  const admin = `http://127.0.0.1:${adminPort}`;
  const { cert, key } = await selfSigned();
  const certFile = join(stack.stateDir, "tls.pem");
  const keyFile = join(stack.stateDir, "tls.key");
  writeFileSync(certFile, cert);
  writeFileSync(keyFile, key, { mode: 0o600 });
  const configFile = configure("encrypted", {
    publicUrl: `https://127.0.0.1:${port}`,
    listen: `{ address: '127.0.0.1:${port}', tls: { cert: ${certFile}, key: ${keyFile} } }`,
    more: `admin: { address: '127.0.0.1:${adminPort}' }\n`,
  });
  const gateway = await startGateway({ configFile, publicUrl: admin });
  try {
    const path = `https://127.0.0.1:${port}/v1/whoami`;
    const headers = { authorization: `Bearer ${stack.token("alice")}` };
    const response = await eventually(async () => {
      const sending = request(path, { ca: cert, headers, agent: false }).end();
      const [answered] = (await once(sending, "response")) as [IncomingMessage];
      return answered;
    });
    assert.equal(response.statusCode, 200);
    response.resume();

    const ready = await send(`${admin}/readyz`, {});
    const { ready: isReady, checks } = ready.json();
    assert.deepEqual([ready.status, isReady], [200, true], ready.text);
    assert((checks as readonly JsonObject[]).every(({ ok, found }) => ok === true && found === "ok"));
    for (const entrance of ["/v1/whoami", "/v1/subscribe?subject=a", "/.well-known/jwks.json"]) {
      assert.equal(
        (await send(admin + entrance, {})).status,
        404,
        "the administration listener has no entrance",
      );
    }
  } finally {
    await gateway.stop();
  }
});

const onUnix = { skip: process.platform === "win32" ? "Unix sockets" : false };

test("on a Unix socket, also over the file that a killed process left behind", onUnix, async () => {
  const path = join(stack.stateDir, "gateway.sock");
  const left = spawnSync(process.execPath, [
    "-e",
    `require("node:net").createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, "SIGKILL"))`,
  ]);
  assert.equal(left.signal, "SIGKILL");
  assert(statSync(path).isSocket());

  const adminPort = await findFreePort();
  const configFile = configure("socket", {
    listen: `{ path: ${path} }`,
    more: `admin: { address: '127.0.0.1:${adminPort}' }\n`,
  });
  const gateway = await startGateway({ configFile, publicUrl: `http://127.0.0.1:${adminPort}` });
  try {
    const response = await eventually(async () => {
      const sending = requestHttp({ socketPath: path, path: "/healthz", agent: false }).end();
      const [answered] = (await once(sending, "response")) as [IncomingMessage];
      return answered;
    });
    assert.equal(response.statusCode, 200);
    response.resume();
    assert.equal(statSync(path).mode & 0o777, 0o660);

    const second = serve(configure("second", { listen: `{ path: ${path} }` }));
    assert.equal(second.status, 1);
    assert.match(second.stderr, /Cannot listen on .*gateway\.sock: something listens there already/);
  } finally {
    await gateway.stop();
  }
});

test("a renewed certificate is served without a restart; a pair that does not fit changes nothing", async (t) => {
  t.mock.timers.enable({ apis: ["setInterval"] });
  const [first, second] = [await selfSigned("first"), await selfSigned("second")];
  let pem = first;
  const app = createEndpointServer({
    publicUrl: "https://127.0.0.1",
    origins: new Set(),
    lane: "http",
    limits: {
      bodyBytesMax: 1,
      headerBytesMax: 8_192,
      headersTimeoutMs: 10_000,
      requestTimeoutMs: 10_000,
      keepAliveTimeoutMs: 10_000,
      connectionsMax: 10,
    },
    tls: first,
    clock: () => 0,
    onFault: assert.fail,
  });
  const address = await listen(app, { host: "127.0.0.1", port: 0 });
  const faults: unknown[] = [];
  const stop = followCertificate(app, { cert: () => pem.cert, key: () => pem.key }, (error) =>
    faults.push(error),
  );
  try {
    pem = { cert: second.cert, key: first.key };
    t.mock.timers.tick(10_000);
    assert.equal(await servedName(address), "first");
    assert.match(String(faults[0]), /certificate and key do not fit/);

    pem = second;
    t.mock.timers.tick(10_000);
    assert.equal(await servedName(address), "second");
    assert.deepEqual(faults.slice(1), [undefined]);

    stop();
    pem = first;
    t.mock.timers.tick(10_000);
    assert.equal(await servedName(address), "second");
  } finally {
    stop();
    await app.close();
  }
});

/** @returns the name in the certificate that a new connection is served */
async function servedName(address: string): Promise<string | string[] | undefined> {
  const socket = connectTls({
    port: Number(address.split(":")[1]),
    host: "127.0.0.1",
    rejectUnauthorized: false,
  });
  await once(socket, "secureConnect");
  const { subject } = socket.getPeerCertificate();
  socket.destroy();
  return subject.CN;
}

test("on a port in use it ends, and says which and what to do", async () => {
  const blocker = createServer().listen(0, "127.0.0.1");
  await once(blocker, "listening");
  const { port } = blocker.address() as AddressInfo;
  const { status, stderr } = serve(configure("blocked", { listen: `{ address: '127.0.0.1:${port}' }` }));
  blocker.close();
  assert.equal(status, 1);
  assert.match(
    stderr,
    new RegExp(`^Cannot listen on 127\\.0\\.0\\.1:${port}: something listens there already`, "m"),
  );
});

test("beyond this machine it does not listen without TLS", async () => {
  const file = configure("open", { listen: "{ address: '0.0.0.0:0' }" });
  await assert.rejects(loadConfig(file), {
    code: "CONFIG_INVALID",
    message: /beyond this machine without tls/,
  });
});

test("a certificate that does not fit its key is refused before anything listens", async () => {
  const [one, other] = [await selfSigned(), await selfSigned()];
  assert.throws(() => readCertificate({ cert: () => one.cert, key: () => other.key }), {
    code: "CONFIG_INVALID",
    message: /certificate and key do not fit(?!.*PRIVATE)/s,
  });
});
