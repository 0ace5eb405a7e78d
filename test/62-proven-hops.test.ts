/** What stands in front and proves itself otherwise than on this machine: by a certificate, by a signature, by a socket. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { type IncomingMessage, request as requestHttp } from "node:http";
import { type RequestOptions, request } from "node:https";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { type GatewayProcess, startGateway } from "@countersign/devstack/gateway-process.ts";
import { pretendTicket, WINDOWS_ACCOUNTS } from "@countersign/devstack/iis/accounts.ts";
import { payloadOf, sealIdentity } from "@countersign/devstack/iis/identity-module.ts";
import { startIisStandIn } from "@countersign/devstack/iis-stand-in.ts";
import { findFreePort } from "@countersign/devstack/ports.ts";
import { followCertificate, listen, readCertificate } from "countersign/compose/listen.ts";
import { testServer } from "countersign/endpoints/testing/server.ts";
import { type JsonObject, send, startTestStack, type TestStack } from "./support.ts";
import { eventually, runCommand } from "./support-operations.ts";

// The library insists on a metadata polyfill for its dependency injection, and then asks it nothing it needs.
Object.assign(Reflect, { getMetadata() {}, getOwnMetadata() {}, defineMetadata() {} });
const x509 = await import("@peculiar/x509");

const KEY = randomBytes(32).toString("base64");
const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
const DELIBERATE = { "countersign-request": "1" };

interface Pem {
  readonly cert: string;
  readonly key: string;
}

let stack: TestStack;
/** Everything but a gateway: each test starts the one it is about. */
before(async () => {
  stack = await startTestStack({ gateway: false });
  writeFileSync(join(stack.stateDir, "iis.key"), KEY, { mode: 0o600 });
  writeFileSync(join(stack.stateDir, "proof"), "s".repeat(40), { mode: 0o600 });
});
after(() => stack?.stop());

interface Place {
  readonly publicUrl: string;
  readonly listen: string;
  readonly issuers?: string;
}

/** Writes a configuration that listens elsewhere. Its administration listener answers anybody. */
async function configured(
  name: string,
  { publicUrl, listen, issuers = "" }: Place,
): Promise<{ readonly configFile: string; readonly adminUrl: string }> {
  const adminPort = await findFreePort();
  const text = readFileSync(stack.configFile, "utf8")
    .replace(/^public-url: .*$/m, `public-url: ${publicUrl}`)
    .replace(/^listen: .*$/m, `listen: ${listen}`)
    .replace(/^issuers:$/m, `issuers:\n${issuers}`);
  const configFile = join(stack.stateDir, `${name}.yaml`);
  writeFileSync(configFile, `${text}instance: ${name}\nadmin: { address: '127.0.0.1:${adminPort}' }\n`);
  return { configFile, adminUrl: `http://127.0.0.1:${adminPort}` };
}

async function start(
  name: string,
  place: Place,
  env: Readonly<Record<string, string>> = {},
): Promise<GatewayProcess> {
  const { configFile, adminUrl } = await configured(name, place);
  const gateway = await startGateway({ configFile, publicUrl: adminUrl, env });
  await eventually("the public listener", () => (gateway.log().includes('"msg":"ready"') ? true : undefined));
  return gateway;
}

/** A certificate for 127.0.0.1 that signs itself, and so is its own authority. */
async function selfSigned(name: string): Promise<Pem> {
  const keys = await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: `CN=${name}`,
    notBefore: new Date(Date.now() - 60_000),
    notAfter: new Date(Date.now() + 3_600_000),
    keys,
    signingAlgorithm: ALGORITHM,
    extensions: [new x509.SubjectAlternativeNameExtension([{ type: "ip", value: "127.0.0.1" }])],
  });
  const pkcs8 = await crypto.subtle.exportKey("pkcs8", keys.privateKey);
  return { cert: certificate.toString("pem"), key: x509.PemConverter.encode(pkcs8, "PRIVATE KEY") };
}

/** @returns the answer with its JSON, or the error of a connection that was not taken */
async function ask(
  url: string,
  options: RequestOptions,
): Promise<{ readonly status: number; readonly requestId: unknown } | string> {
  const sending = request(url, { ...options, agent: false }).end();
  try {
    const [answer] = (await once(sending, "response")) as [IncomingMessage];
    answer.resume();
    return { status: answer.statusCode ?? 0, requestId: answer.headers["x-request-id"] };
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error);
  }
}

test("a proxy from another machine shows a certificate of its authority, and then its addresses and ids count", async () => {
  const [server, proxy, stranger] = [
    await selfSigned("gateway"),
    await selfSigned("proxy"),
    await selfSigned("proxy"),
  ];
  const place = (name: string, text: string): string => {
    const file = join(stack.stateDir, name);
    writeFileSync(file, text, { mode: 0o600 });
    return file;
  };
  const tls = `{ cert: ${place("server.pem", server.cert)}, key: ${place("server.key", server.key)} }`;
  const port = await findFreePort();
  const publicUrl = `https://127.0.0.1:${port}`;
  const listen = `{ address: '0.0.0.0:${port}', tls: ${tls}, behind: proxy, client-ca: ${place("proxy.pem", proxy.cert)}, overwrites-request-id: true }`;
  const gateway = await start("proxied", { publicUrl, listen });
  try {
    const headers = {
      authorization: `Bearer ${stack.token("alice")}`,
      "x-forwarded-for": "203.0.113.9, 192.0.2.7",
      "x-request-id": "from-the-proxy",
    };
    const whoami = `${publicUrl}/v1/whoami`;
    const answer = await ask(whoami, { ca: server.cert, ...proxy, headers });
    assert.deepEqual(answer, { status: 200, requestId: "from-the-proxy" });
    const record = stack.audit().find(({ requestId }) => requestId === "from-the-proxy");
    assert.deepEqual(
      [record?.remote, record?.hop, record?.clientRequestId],
      ["192.0.2.7", "127.0.0.1", undefined],
    );
    assert.match(String(record?.txn), /^[0-9a-f-]{36}$/);
    // Nobody is heard who has none, or one of another authority of the same name.
    for (const certificate of [{}, stranger]) {
      assert.equal(typeof (await ask(whoami, { ca: server.cert, ...certificate, headers })), "string");
    }
  } finally {
    await gateway.stop();
  }
});

test("a renewed certificate leaves the authority of clients as it was", async (t) => {
  t.mock.timers.enable({ apis: ["setInterval"] });
  const [first, second, proxy, stranger] = await Promise.all(
    ["first", "second", "proxy", "stranger"].map((name) => selfSigned(name)),
  );
  assert(first && second && proxy && stranger);
  let pem = first;
  const certificate = { cert: () => pem.cert, key: () => pem.key, clientCa: () => proxy.cert };
  const app = testServer({ tls: readCertificate(certificate) });
  const url = `https://${await listen(app, { host: "127.0.0.1", port: 0 })}/`;
  const stop = followCertificate(app, certificate, assert.ifError);
  try {
    for (const server of [first, second]) {
      pem = server;
      t.mock.timers.tick(10_000);
      assert.equal(typeof (await ask(url, { ca: server.cert, ...proxy })), "object");
      // One that its own authority vouches for, as any of the Internet's would.
      assert.equal(typeof (await ask(url, { ca: server.cert, ...stranger })), "string");
      assert.equal(typeof (await ask(url, { ca: server.cert })), "string");
    }
  } finally {
    stop();
    await app.close();
  }
});

test("a proxy on a Unix socket of this machine gives addresses", {
  skip: process.platform === "win32",
}, async () => {
  const path = join(stack.stateDir, "proxied.sock");
  const gateway = await start("socket", {
    publicUrl: stack.gatewayUrl,
    listen: `{ path: ${path}, behind: proxy }`,
  });
  try {
    const headers = { authorization: `Bearer ${stack.token("alice")}`, "x-forwarded-for": "192.0.2.8" };
    const sending = requestHttp({ socketPath: path, path: "/v1/whoami", headers, agent: false }).end();
    const [answer] = (await once(sending, "response")) as [IncomingMessage];
    answer.resume();
    assert.equal(answer.statusCode, 200);
    const [record] = await stack.auditOf(answer.headers["x-request-id"], 1);
    assert.deepEqual([record?.remote, record?.hop], ["192.0.2.8", "socket"]);
  } finally {
    await gateway.stop();
  }
});

/** A certificate that an authority of ours issued to somebody, base64 of DER, and the authority's own. */
async function issued(): Promise<{ readonly certificate: string; readonly authority: string }> {
  const times = { notBefore: new Date(Date.now() - 60_000), notAfter: new Date(Date.now() + 3_600_000) };
  const keys = await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
  const common = { ...times, signingAlgorithm: ALGORITHM };
  const authority = await x509.X509CertificateGenerator.createSelfSigned({
    ...common,
    name: "CN=Corp CA",
    keys,
    extensions: [new x509.BasicConstraintsExtension(true)],
  });
  const certificate = await x509.X509CertificateGenerator.create({
    ...common,
    subject: "CN=alice, O=Corp",
    issuer: "CN=Corp CA",
    publicKey: (await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"])).publicKey,
    signingKey: keys.privateKey,
  });
  return {
    certificate: Buffer.from(certificate.rawData).toString("base64"),
    authority: authority.toString("pem"),
  };
}

const CERTIFICATE_ISSUERS = `  iis: { windows-auth: true, key: { file: iis.key } }
  certs: { client-certificates: true, ca: clients.pem, users: [ { user: alice, issuer: CN=Corp CA, subject: [ CN=alice, O=Corp ] } ] }`;

test("a client certificate that ASP.NET Core Module V2 passes on names its user", async () => {
  const { certificate, authority } = await issued();
  writeFileSync(join(stack.stateDir, "clients.pem"), authority);
  const { configFile } = await configured("certificates", {
    publicUrl: stack.gatewayUrl,
    listen: "{ behind: iis-ancm }",
    issuers: CERTIFICATE_ISSUERS,
  });
  const options = {
    port: Number(new URL(stack.gatewayUrl).port),
    backend: { kind: "ancm", configFile },
  } as const;
  const site = await startIisStandIn({
    ...options,
    logFolder: join(stack.stateDir, "certificates"),
    certificate,
  });
  try {
    const answer = await stack.call("/v1/whoami", { headers: DELIBERATE });
    assert.deepEqual([answer.status, answer.json().user], [200, "certs-alice"], answer.text);
    assert.equal((await stack.call("/v1/whoami")).status, 403, "browsers show it by themselves");
  } finally {
    await site.stop();
  }
});

test("behind ARR a client certificate counts that the module signed the hash of, and no visitor's own header", async () => {
  const { certificate, authority } = await issued();
  writeFileSync(join(stack.stateDir, "clients.pem"), authority);
  const port = await findFreePort();
  const listen = `{ address: '127.0.0.1:${port}', behind: iis-arr, proof: { file: proof } }`;
  const gateway = await start("arr-certificates", {
    publicUrl: stack.gatewayUrl,
    listen,
    issuers: CERTIFICATE_ISSUERS,
  });
  const backend = { kind: "arr", port, proof: "s".repeat(40) } as const;
  const logFolder = join(stack.stateDir, "arr-certificates");
  const whoami = async (
    url: string,
    headers: Readonly<Record<string, string>>,
  ): Promise<readonly unknown[]> => {
    const answer = await send(`${url}/v1/whoami`, { headers: { ...DELIBERATE, ...headers } });
    return [answer.status, answer.json().user ?? answer.json().code];
  };
  const forged = { "X-ARR-ClientCert": certificate };
  const signing = { key: KEY, certificate: true };
  const shown = await startIisStandIn({ logFolder, backend, certificate, identityModule: signing });
  const notShown = await startIisStandIn({ logFolder, backend, identityModule: signing });
  const withoutModule = await startIisStandIn({ logFolder, backend });
  try {
    assert.deepEqual(await whoami(shown.url, {}), [200, "certs-alice"]);
    assert.deepEqual(await whoami(notShown.url, forged), [401, "unauthenticated"], "the module took it away");
    assert.deepEqual(await whoami(withoutModule.url, forged), [401, "unauthenticated"], "nobody signed it");
    const [record] = stack.audit().slice(-1);
    const { why } = (record?.refusal ?? {}) as JsonObject;
    assert.equal(why, "a client certificate that the module of IIS does not confirm");
  } finally {
    for (const site of [shown, notShown, withoutModule]) await site.stop();
    await gateway.stop();
  }
});

test("what App Service says of a user counts inside App Service, and is refused everywhere else", async () => {
  const tenant = "9f2c0000-0000-0000-0000-000000000000";
  const claim = (typ: string, val: string): object => ({
    typ: `http://schemas.microsoft.com/identity/claims/${typ}`,
    val,
  });
  const claims = [claim("tenantid", tenant), claim("objectidentifier", "1b7e")];
  const principal = Buffer.from(JSON.stringify({ auth_typ: "aad", claims })).toString("base64");
  const headers = {
    ...DELIBERATE,
    "x-ms-client-principal": principal,
    "x-ms-client-principal-name": "alice",
  };
  for (const [enabled, expected] of [
    ["True", [200, "azure-1b7e"]],
    ["", [400, "invalid_proof"]],
  ] as const) {
    const port = await findFreePort();
    const url = `http://127.0.0.1:${port}`;
    const place = {
      publicUrl: url,
      listen: `{ address: '127.0.0.1:${port}' }`,
      issuers: `  azure: { easy-auth: aad, entra-tenant: ${tenant} }`,
    };
    const gateway = await start("azure", place, { WEBSITE_AUTH_ENABLED: enabled });
    try {
      const answer = await send(`${url}/v1/whoami`, { headers });
      assert.deepEqual([answer.status, answer.json().user ?? answer.json().code], expected, answer.text);
    } finally {
      await gateway.stop();
    }
  }
});

test("a gateway that IIS is to start, and did not, says so at once", async () => {
  const { configFile } = await configured("by-hand", {
    publicUrl: stack.gatewayUrl,
    listen: "{ behind: iis-ancm }",
  });
  assert.equal((await runCommand(["serve", "--check", "--config", configFile])).code, 0);
  const { code, err } = await runCommand(["serve", "--config", configFile]);
  assert.equal(code, 1);
  assert.match(
    err,
    /^Cannot listen: `listen: behind: iis-ancm` has IIS start the gateway and give it a port/m,
  );
});

test("an application below the site's root: everything hangs under its path, the shutdown call too", async () => {
  const publicUrl = `${stack.gatewayUrl}/apps/bus`;
  const { configFile } = await configured("application", { publicUrl, listen: "{}" });
  const backend = { kind: "ancm", configFile, applicationPath: "/apps/bus" } as const;
  const port = Number(new URL(stack.gatewayUrl).port);
  const site = await startIisStandIn({ port, logFolder: join(stack.stateDir, "application"), backend });
  try {
    const token = stack.token("alice");
    assert.equal((await send(`${publicUrl}/v1/whoami`, { token })).status, 200);
    assert.equal((await send(`${stack.gatewayUrl}/v1/whoami`, { token })).status, 404);
    assert.equal(await site.recycle(), true, "it ended by itself when it was asked to");
  } finally {
    await site.stop();
  }
});

/** Beyond this machine, by the signature of the module; with a secret of the rule besides, or without. */
for (const proof of ["", ", proof: { file: proof }"]) {
  test(`ARR from another machine signs each request${proof && ", and its secret is not enough"}`, async () => {
    const port = await findFreePort();
    const direct = `http://127.0.0.1:${port}`;
    const listen = `{ address: '0.0.0.0:${port}', dangerously-without-tls: true, behind: iis-arr${proof} }`;
    const issuers = "  iis: { windows-auth: true, key: { file: iis.key }, nonces: here }";
    const name = proof === "" ? "signed" : "both";
    const gateway = await start(name, { publicUrl: stack.gatewayUrl, listen, issuers });
    const secret = proof === "" ? {} : { proof: "s".repeat(40) };
    const site = await startIisStandIn({
      port: Number(new URL(stack.gatewayUrl).port),
      logFolder: join(stack.stateDir, name),
      backend: { kind: "arr", port, ...secret },
      identityModule: { key: KEY },
    });
    try {
      const token = stack.token("alice");
      // Nobody is signed in by IIS: that is signed too, and proves where the request came from.
      assert.equal((await stack.call("/v1/whoami", { token })).status, 200);
      site.setWindowsAuthentication(true);
      const windows = await stack.call("/v1/whoami", {
        headers: { authorization: pretendTicket("alice"), ...DELIBERATE },
      });
      assert.equal(windows.json().user, `iis-${WINDOWS_ACCOUNTS.alice.sid}`);

      const withSecret = proof === "" ? {} : { "countersign-proof": "s".repeat(40) };
      const unsigned = await send(`${direct}/v1/whoami`, { token, headers: withSecret });
      assert.equal(unsigned.status, 400);
      const [record] = await stack.auditOf(unsigned.headers["x-request-id"], 1);
      assert.deepEqual(record?.refusal, { reason: "hop_unproven", proof: "the signature of its module" });

      const signed = signedNow("alice", "GET");
      const headers = { ...withSecret, ...DELIBERATE, "countersign-identity": signed };
      assert.equal((await send(`${direct}/v1/whoami`, { headers })).status, 200);
      const again = await send(`${direct}/v1/whoami`, { headers });
      assert.equal(again.status, 401);
      const [replayed] = await stack.auditOf(again.headers["x-request-id"], 1);
      const { why } = (replayed?.refusal ?? {}) as JsonObject;
      assert.equal(why, "an identity from IIS that was used before");
    } finally {
      await site.stop();
      await gateway.stop();
    }
  });
}

/** What somebody who listens between IIS and the gateway would have. */
function signedNow(user: keyof typeof WINDOWS_ACCOUNTS, method: string): string {
  const { sid, name } = WINDOWS_ACCOUNTS[user];
  const payload = payloadOf({
    milliseconds: String(Date.now()),
    nonce: randomBytes(16).toString("hex"),
    method,
    authenticationType: "Negotiate",
    sid,
    account: name,
    certificateHash: "",
    how: "none",
    groups: [],
  });
  return sealIdentity(KEY, payload);
}
