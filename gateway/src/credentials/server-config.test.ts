import assert from "node:assert/strict";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { type NatsServer, startNatsServer } from "@countersign/devstack/nats-server.ts";
import { Kvm } from "@nats-io/kv";
import { type Auth, type ConnectionOptions, connect } from "@nats-io/transport-node";
import { initKeys } from "./init.ts";
import type { KeysManifest } from "./keys-folder.ts";
import { loadNatsKeys } from "./nats-keys.ts";
import { createNkey } from "./nkey.ts";
import { renderServerConfig, type ServerOptions } from "./server-config.ts";

const SERVER: ServerOptions = { name: "one", host: "127.0.0.1", port: 4222, storeDir: "data" };
const MANIFEST: KeysManifest = {
  version: 1,
  kind: "operator",
  account: createNkey("account").publicKey,
  signingKey: createNkey("account").publicKey,
  proxyKey: createNkey("user").publicKey,
  trust: { operatorJwt: "o", systemAccount: createNkey("account").publicKey, accounts: [] },
};

test("renderServerConfig() refuses a server without TLS beyond loopback, and routes that anybody may join", () => {
  const tls = { certFile: "c", keyFile: "k" };
  const cluster = { name: "c", host: "0.0.0.0", port: 6222, routes: ["nats://a:6222"] };
  const unsafe: readonly ServerOptions[] = [
    SERVER,
    { ...SERVER, host: "0.0.0.0", loopbackWithoutTls: true },
    { ...SERVER, host: "127.0.0.1.example.com", loopbackWithoutTls: true },
    { ...SERVER, loopbackWithoutTls: true, cluster },
    { ...SERVER, tls, cluster },
  ];
  for (const server of unsafe) {
    assert.throws(() => renderServerConfig(MANIFEST, server), { code: "CONFIG_INVALID" });
  }
  for (const server of [
    { ...SERVER, tls },
    { ...SERVER, tls: { ...tls, caFile: "ca" }, cluster },
  ]) {
    assert.ok(renderServerConfig(MANIFEST, server).includes("tls {"));
  }
});

test("renderServerConfig() lets no value break out of its quotes", () => {
  const server = { ...SERVER, loopbackWithoutTls: true };
  for (const name of ['a" host: "0.0.0.0', "a\nb", "a\u0000b"]) {
    assert.throws(() => renderServerConfig(MANIFEST, { ...server, name }), { code: "CONFIG_INVALID" });
    assert.throws(() => renderServerConfig(MANIFEST, { ...server, storeDir: name }), {
      code: "CONFIG_INVALID",
    });
  }
});

test("renderServerConfig() makes three servers one cluster, with TLS to clients and between them", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "countersign-cluster-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const ports = await freePorts(3);
  const options = ports.map((port, index) => serverOf(index, port, ports));
  const { servers } = await initKeys({
    keysDirectory: join(folder, "keys"),
    offlineDirectory: join(folder, "offline"),
    servers: options.map((server) => ({ ...server, configPath: join(folder, `${server.name}.conf`) })),
    now: Date.now() / 1000,
  });
  const authority = await createCertificateAuthority();
  const running = await Promise.all(
    servers.map(async ({ config }, index): Promise<NatsServer> => {
      const home = join(folder, `home${index}`);
      await mkdir(home);
      const { cert, key } = await authority.issue();
      await writeFile(join(home, "ca.pem"), authority.cert);
      await writeFile(join(home, "cert.pem"), cert);
      await writeFile(join(home, "key.pem"), key, { mode: 0o600 });
      return startNatsServer({ config, folder: home });
    }),
  );
  t.after(() => Promise.all(running.map((server) => server.stop())));
  const { control, proxyKey } = await loadNatsKeys(join(folder, "keys"));
  const connection = await connect({
    servers: running.map(({ port }) => `localhost:${port}`),
    tls: { ca: authority.cert },
    inboxPrefix: control.inboxPrefix,
    authenticator: (nonce = "") =>
      ({
        jwt: control.jwt,
        sig: control.userKey.sign(nonce).toString("base64url"),
        proxy_sig: proxyKey?.sign(nonce).toString("base64url"),
      }) as Auth,
  } satisfies ConnectionOptions);
  t.after(() => connection.close());
  // Three replicas exist only where three servers have found each other.
  const bucket = await untilThere(() => new Kvm(connection).create("sessions", { replicas: 3 }));
  await bucket.put("k", "v");
  assert.equal((await bucket.get("k"))?.string(), "v");
  const plain = connect({
    servers: running.map(({ url }) => url),
    tls: null,
    reconnect: false,
    timeout: 5000,
  });
  await assert.rejects(plain);
  assert.ok((await readFile(join(folder, "one.conf"), "utf8")).includes("verify: true"));
});

function serverOf(index: number, routePort: number, routePorts: readonly number[]): ServerOptions {
  return {
    ...SERVER,
    name: ["one", "two", "three"][index] ?? "more",
    tls: { certFile: "cert.pem", keyFile: "key.pem", caFile: "ca.pem" },
    cluster: {
      name: "test",
      host: "127.0.0.1",
      port: routePort,
      routes: routePorts.map((port) => `nats://127.0.0.1:${port}`),
    },
  };
}

/** JetStream elects its leader some time after the servers are ready, and says only that it is not there yet. */
async function untilThere<T>(ask: () => Promise<T>): Promise<T> {
  const end = Date.now() + 60_000;
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (Date.now() > end) throw error;
      await delay(100);
    }
  }
}

/** Ports that were free just now; all are held at once, so that none is given twice. */
async function freePorts(count: number): Promise<readonly number[]> {
  const held = await Promise.all(
    Array.from(
      { length: count },
      () =>
        new Promise<Server>((resolve) => {
          const server = createServer().listen(0, "127.0.0.1", () => resolve(server));
        }),
    ),
  );
  return await Promise.all(
    held.map((server) => {
      const address = server.address();
      assert.ok(address !== null && typeof address === "object");
      return new Promise<number>((resolve) => server.close(() => resolve(address.port)));
    }),
  );
}

interface Pem {
  readonly cert: string;
  readonly key: string;
}

// The library insists on a metadata polyfill for its dependency injection, and then asks it nothing it needs.
Object.assign(Reflect, { getMetadata() {}, getOwnMetadata() {}, defineMetadata() {} });
const x509 = await import("@peculiar/x509");

/** A certificate authority for one test, valid for an hour. */
async function createCertificateAuthority(): Promise<Pem & { issue: () => Promise<Pem> }> {
  const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
  const validity = { notBefore: new Date(Date.now() - 60_000), notAfter: new Date(Date.now() + 3_600_000) };
  const generate = () => crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const keyPem = async ({ privateKey }: CryptoKeyPair): Promise<string> =>
    x509.PemConverter.encode(await crypto.subtle.exportKey("pkcs8", privateKey), "PRIVATE KEY");
  const keys = await generate();
  const root = await x509.X509CertificateGenerator.createSelfSigned({
    name: "CN=test authority",
    keys,
    signingAlgorithm: algorithm,
    ...validity,
    extensions: [new x509.BasicConstraintsExtension(true, 0, true)],
  });
  return {
    cert: root.toString("pem"),
    key: await keyPem(keys),
    async issue() {
      const own = await generate();
      const certificate = await x509.X509CertificateGenerator.create({
        subject: "CN=nats",
        issuer: root.subject,
        publicKey: own.publicKey,
        signingKey: keys.privateKey,
        signingAlgorithm: algorithm,
        ...validity,
        extensions: [
          new x509.SubjectAlternativeNameExtension([
            { type: "ip", value: "127.0.0.1" },
            { type: "dns", value: "localhost" },
          ]),
        ],
      });
      return { cert: certificate.toString("pem"), key: await keyPem(own) };
    },
  };
}
