import assert from "node:assert/strict";
import { KeyObject } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { GatewayError, type GatewayErrorCode } from "../errors.ts";
import { createDial, type NatsServers, unfitVersion } from "./dial.ts";
import { startCluster } from "./testing/cluster.ts";
import { startFakeServer } from "./testing/fake-server.ts";

function coded(code: GatewayErrorCode, message: RegExp) {
  return (error: unknown) =>
    error instanceof GatewayError && error.code === code && message.test(error.message);
}

const dialAs = { name: "test", inboxPrefix: "_INBOX.x", answer: () => ({ jwt: "j", sig: "s" }) };

async function withFakeServer(
  info: Record<string, unknown> | undefined,
  run: (url: string, received: () => string) => Promise<void>,
): Promise<void> {
  const { url, received, close } = await startFakeServer(info);
  try {
    await run(url, received);
  } finally {
    close();
  }
}

test("createDial() takes addresses it can dial safely, and says which it cannot", () => {
  const right: NatsServers[] = [
    { servers: ["nats://127.0.0.1:4222"] },
    { servers: ["nats://localhost", "nats://[::1]:4222"] },
    { servers: ["tls://nats.example.com:4222"] },
    { servers: ["nats://nats.example.com"], tls: {} },
    { servers: ["nats://nats.example.com"], dangerouslyAllowPlaintext: true },
  ];
  for (const options of right) assert.equal(typeof createDial(options), "function");
  const wrong: [NatsServers, RegExp][] = [
    [{ servers: [] }, /1–32/],
    [{ servers: ["nats://nats.example.com:4222"] }, /unencrypted.*tls:\/\/nats\.example\.com:4222/],
    [{ servers: ["nats://127.0.0.1.example.com"] }, /unencrypted/],
    [{ servers: ["nats://user:secret@127.0.0.1"] }, /without user name/],
    [{ servers: ["http://127.0.0.1"] }, /nats:\/\/host:port/],
    [{ servers: ["127.0.0.1:4222"] }, /nats:\/\/host:port/],
    [{ servers: ["nats://127.0.0.1"], dialTimeoutMs: 1 }, /dialTimeoutMs must be 100–60000, found 1/],
  ];
  for (const [options, message] of wrong)
    assert.throws(() => createDial(options), coded("CONFIG_INVALID", message), JSON.stringify(options));
  assert.throws(
    () => createDial({ servers: ["nats://user:secret@127.0.0.1"] }),
    (error) => error instanceof Error && !error.message.includes("secret"),
  );
});

test("dial() does not use a server that would accept a stolen credential", async () => {
  await withFakeServer({ version: "2.10.27", nonce: "n" }, async (url) => {
    await assert.rejects(
      createDial({ servers: [url] })(dialAs),
      coded("NATS_UNFIT", /2\.10\.27 may not be used: 2\.12\.8 or later/),
    );
  });
});

test("dial() shows its credential to no server that sends no nonce", async () => {
  await withFakeServer({ version: "2.15.1" }, async (url, received) => {
    await assert.rejects(createDial({ servers: [url] })(dialAs), coded("NATS_UNFIT", /no nonce/));
    assert.equal(received(), "");
  });
});

test("dial() sends nothing to a server without TLS when TLS was asked for", async () => {
  await withFakeServer({ version: "2.15.1", nonce: "n" }, async (url, received) => {
    const dial = createDial({ servers: [url.replace("nats:", "tls:")] });
    await assert.rejects(dial(dialAs), coded("NATS_UNREACHABLE", /tls/));
    assert.equal(received(), "");
  });
});

test("dial() speaks TLS with the authority it was given, and with no other", async () => {
  const [ours, theirs, localhost] = [await selfSigned("ip"), await selfSigned("ip"), await selfSigned("dns")];
  const folder = await mkdtemp(join(tmpdir(), "countersign-tls-"));
  const [certFile, keyFile] = [join(folder, "cert.pem"), join(folder, "key.pem")];
  const use = (pem: Pem) => Promise.all([writeFile(certFile, pem.cert), writeFile(keyFile, pem.key)]);
  await use(ours);
  const cluster = await startCluster({
    change: (config) => `${config}\ntls { cert_file: "${certFile}", key_file: "${keyFile}" }\n`,
  });
  try {
    const { control, proxyKey } = cluster.keys;
    const url = cluster.url.replace("nats:", "tls:");
    const known = {
      ...dialAs,
      inboxPrefix: control.inboxPrefix,
      answer: (nonce: string) => ({
        jwt: control.jwt,
        sig: control.userKey.sign(nonce).toString("base64url"),
        proxy_sig: proxyKey?.sign(nonce).toString("base64url") ?? "",
      }),
    };
    const connection = await createDial({ servers: [url], tls: { ca: ours.cert } })(known);
    await connection.flush();
    await connection.close();
    for (const tls of [{ ca: theirs.cert }, {}])
      await assert.rejects(
        createDial({ servers: [url], tls })(known),
        coded("NATS_UNREACHABLE", /certificate/),
      );

    await use(localhost);
    await cluster.restart();
    const other = createDial({ servers: [url], tls: { ca: localhost.cert } })(known);
    await assert.rejects(other, coded("NATS_UNREACHABLE", /certificate/));
  } finally {
    await cluster.close();
    await rm(folder, { recursive: true });
  }
});

interface Pem {
  readonly cert: string;
  readonly key: string;
}

/** A certificate for 127.0.0.1, or for localhost, that is its own authority. */
async function selfSigned(of: "ip" | "dns"): Promise<Pem> {
  // The library insists on a metadata polyfill for its dependency injection, and then asks it nothing it needs.
  Object.assign(Reflect, { getMetadata() {}, getOwnMetadata() {}, defineMetadata() {} });
  const x509 = await import("@peculiar/x509");
  const keys = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, [
    "sign",
    "verify",
  ]);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: "CN=Test",
    notBefore: new Date(Date.now() - 60_000),
    notAfter: new Date(Date.now() + 3_600_000),
    keys,
    signingAlgorithm: { name: "ECDSA", hash: "SHA-256" },
    extensions: [
      new x509.BasicConstraintsExtension(true),
      new x509.SubjectAlternativeNameExtension([
        { type: of, value: of === "ip" ? "127.0.0.1" : "localhost" },
      ]),
    ],
  });
  const key = KeyObject.from(keys.privateKey).export({ format: "pem", type: "pkcs8" });
  return { cert: certificate.toString("pem"), key: key.toString() };
}

test("dial() gives up on a server that says nothing", async () => {
  await withFakeServer(undefined, async (url) => {
    const dial = createDial({ servers: [url], dialTimeoutMs: 100 });
    await assert.rejects(dial(dialAs), coded("NATS_UNREACHABLE", /timeout/i));
  });
});

test("unfitVersion() knows what is older, also among pre-releases and words", () => {
  for (const version of ["2.12.8", "2.12.9-RC.1", "2.13.0", "2.15.1", "3.0.0"])
    assert.equal(unfitVersion(version), undefined, version);
  for (const version of [undefined, "", "2.12.7", "2.12.8-beta.1", "2.9.99", "1.15.1", "latest"])
    assert.match(unfitVersion(version) ?? "", /may not be used/, String(version));
});
