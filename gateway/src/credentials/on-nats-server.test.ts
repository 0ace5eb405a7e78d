import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { type NatsServer, startNatsServer } from "@countersign/devstack/nats-server.ts";
import { jetstreamManager } from "@nats-io/jetstream";
import { Kvm } from "@nats-io/kv";
import {
  connect,
  credsAuthenticator,
  type NatsConnection,
  type QueuedIterator,
  type Status,
} from "@nats-io/transport-node";
import type { Identity } from "../identity/identity.ts";
import type { Grant, NatsPermissions } from "../policy/grant.ts";
import { type InitResult, initKeys } from "./init.ts";
import { encodeNatsJwt } from "./nats-jwt.ts";
import { loadNatsKeys, type NatsKeys } from "./nats-keys.ts";
import { createNkey, type Nkey } from "./nkey.ts";
import { dialAs } from "./testing/user.ts";
import { type Credential, inboxPrefixOf, mintCredential } from "./user.ts";

// Real time, because nats-server has a clock of its own.
const now = (): number => Date.now() / 1000;

let folder: string;
let made: InitResult;
let keys: NatsKeys;
let server: NatsServer;
const open: NatsConnection[] = [];

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "countersign-credentials-"));
  made = await initKeys({
    keysDirectory: join(folder, "keys"),
    offlineDirectory: join(folder, "offline"),
    servers: [
      {
        name: "one",
        host: "127.0.0.1",
        port: 4222,
        storeDir: join(folder, "data"),
        loopbackWithoutTls: true,
        configPath: join(folder, "one.conf"),
      },
    ],
    now: now(),
  });
  keys = await loadNatsKeys(join(folder, "keys"));
  server = await startNatsServer({ config: await readFile(join(folder, "one.conf"), "utf8") });
});

after(async () => {
  for (const connection of open) await connection.close();
  await server?.stop();
  await rm(folder, { recursive: true, force: true });
});

test("mintCredential() makes what connects through the proxy, and is worthless without it", async () => {
  const { credential, userKey } = mint({ pub: ["a.>"], sub: ["b.>"] });
  await dial(credential, userKey, keys.proxyKey);
  // The thief has the JWT and even the user's key.
  await assert.rejects(dial(credential, userKey, undefined), /Authorization Violation/);
  await assert.rejects(dial(credential, userKey, createNkey("user")), /Authorization Violation/);
  await assert.rejects(dial(credential, createNkey("user"), keys.proxyKey), /Authorization Violation/);
});

test("mintCredential() makes nats-server enforce the permissions", async () => {
  const alice = mint({ pub: ["a.ok"], sub: ["b.ok"] });
  const connection = await dial(alice.credential, alice.userKey, keys.proxyKey);
  assert.match(await violationOf(connection, () => connection.publish("a.not")), /Publish to "a.not"/);
  assert.match(await violationOf(connection, () => connection.subscribe("b.not")), /Subscription to "b.not"/);
  const inbox = `${mint({ pub: ["a"], sub: ["b"], user: "demo-bob" }).credential.inboxPrefix}.>`;
  assert.match(await violationOf(connection, () => connection.subscribe(inbox)), /Subscription/);
  const received = connection.subscribe("b.ok", { max: 1 });
  const admin = await dialAdmin();
  await connection.flush();
  admin.publish("b.ok", "yes");
  for await (const message of received) assert.equal(message.string(), "yes");
});

test("mintCredential() makes a request whose reply arrives in the identity's own inbox", async () => {
  const { credential, userKey } = mint({ pub: ["svc"], sub: [] });
  const connection = await dial(credential, userKey, keys.proxyKey);
  const admin = await dialAdmin();
  admin.subscribe("svc", {
    callback: (_, message) => {
      message.respond(message.reply ?? "");
    },
  });
  await admin.flush();
  const reply = await connection.request("svc", "", { timeout: 5000 });
  assert.ok(reply.string().startsWith(`${credential.inboxPrefix}.`));
});

test("mintCredential() makes a connection that nats-server closes when the proof ends", async () => {
  const { credential, userKey } = mint({ pub: ["a"], sub: [], expiresAt: now() + 4 });
  const connection = await dial(credential, userKey, keys.proxyKey);
  const error = await connection.closed();
  assert.match(String(error), /Authentication Expired/);
  assert.ok(
    now() < credential.expiresAt + 10,
    "closed at its end, not at the end of the credential's own life",
  );
});

test("mintCredential() carries 200 subjects, since init raises max_control_line", async () => {
  const pub = Array.from({ length: 200 }, (_, index) => `orders.eu.${index}.create`);
  const { credential, userKey } = mint({ pub, sub: [] });
  assert.ok(credential.bytes > 4096);
  const connection = await dial(credential, userKey, keys.proxyKey);
  connection.publish("orders.eu.199.create");
  await connection.flush();
});

test("mintCredential() counts at least the bytes that nats.js sends in CONNECT", async () => {
  const { credential, userKey } = mint({ pub: ["a"], sub: [] });
  const line = await connectLineOf(credential, userKey);
  assert.ok(line.length <= credential.bytes, `${line.length} sent, ${credential.bytes} counted`);
  assert.ok(credential.bytes - line.length < 512, "and not far more");
});

test("initKeys() gives the gateway a user that keeps buckets in CONTROL and reaches nothing of CORE", async () => {
  const connection = await dialGateway(keys.control);
  const bucket = await new Kvm(connection).create("sessions", { markerTTL: 30_000 });
  await bucket.put("k", "v");
  assert.equal((await bucket.get("k"))?.string(), "v");
  for await (const entry of await bucket.watch()) {
    assert.equal(entry.key, "k");
    break;
  }
  const manager = await jetstreamManager(connection);
  await manager.streams.add({ name: "AUDIT", subjects: ["audit.>"] });
  assert.equal((await manager.jetstream().publish("audit.one", "{}")).stream, "AUDIT");
  assert.match(await violationOf(connection, () => connection.publish("orders.eu")), /Publish/);
  const coreStreams = await (await jetstreamManager(await dialAdmin())).streams.list().next();
  assert.deepEqual(coreStreams, []);
  await assert.rejects(dialGateway(keys.control, "without proxy"), /Authorization Violation/);
});

test("initKeys() gives the gateway a system user that can kick, list CORE and ask versions, no more", async () => {
  assert.ok(keys.system);
  const system = await dialGateway(keys.system);
  const alice = mint({ pub: ["a"], sub: [], user: "demo-kicked" });
  const victim = await dial(alice.credential, alice.userKey, keys.proxyKey);
  const { server_id: id, client_id: cid } = victim.info ?? {};
  const versions = await system.request("$SYS.REQ.SERVER.PING", "", { timeout: 5000 });
  assert.ok(versions.json<{ server: { ver: string } }>().server.ver);
  const listed = await system.request(`$SYS.REQ.ACCOUNT.${keys.account}.CONNZ`, "", {
    timeout: 5000,
  });
  assert.ok(listed.string().includes(`"cid":${cid}`));
  const ended = victim.closed();
  await system.request(`$SYS.REQ.SERVER.${id}.KICK`, JSON.stringify({ cid }), { timeout: 5000 });
  await ended;
  const forbidden = [
    ...["UPDATE", "DELETE", "LIST", "PACK"].map((what) => `$SYS.REQ.CLAIMS.${what}`),
    ...["RELOAD", "LDM", "CONNZ", "JSZ", "VARZ"].map((what) => `$SYS.REQ.SERVER.${id}.${what}`),
    ...["CONNZ", "SUBSZ", "JSZ"].map((what) => `$SYS.REQ.SERVER.PING.${what}`),
    // What is in CONTROL is not its business, nor what CORE's users subscribe to.
    `$SYS.REQ.ACCOUNT.${keys.control.account}.CONNZ`,
    `$SYS.REQ.ACCOUNT.${keys.account}.SUBSZ`,
    `$SYS.REQ.ACCOUNT.${keys.account}.CLAIMS.UPDATE`,
    "$SYS.REQ.USER.AUTH",
    `$SYS.ACCOUNT.${keys.account}.CONNECT`,
  ];
  for (const subject of forbidden) {
    assert.match(await violationOf(system, () => system.publish(subject)), /Publish/, subject);
  }
  const events = `$SYS.ACCOUNT.${keys.account}.CONNECT`;
  assert.match(await violationOf(system, () => system.subscribe(events)), /Subscription/);
  await assert.rejects(dialGateway(keys.system, "without proxy"), /Authorization Violation/);
});

test("initKeys() does not let the gateway's signing key mint a user of CONTROL", async () => {
  const { credential, userKey } = mint({ pub: ["$KV.>"], sub: [], account: keys.control.account });
  await assert.rejects(dial(credential, userKey, keys.proxyKey), /Authorization Violation/);
});

test("encodeNatsJwt() makes names beyond ASCII arrive at nats-server as they are", async () => {
  const userKey = createNkey("user");
  const jwt = encodeNatsJwt<"user">({
    name: "José 日本",
    subject: userKey.publicKey,
    signer: keys.signingKey,
    issuedAt: now(),
    claims: {
      type: "user",
      issuer_account: keys.account,
      pub: { allow: ["$SYS.REQ.USER.INFO"] },
      sub: { allow: ["_INBOX.x.>"] },
      subs: -1,
      data: -1,
      payload: -1,
    },
  });
  const connection = await dial({ jwt, inboxPrefix: "_INBOX.x" }, userKey, undefined);
  const info = (await connection.request("$SYS.REQ.USER.INFO")).json<{ data: { user_name: string } }>();
  assert.equal(info.data.user_name, "José 日本");
});

function mint(of: {
  readonly pub: readonly string[];
  readonly sub: readonly string[];
  readonly user?: string;
  readonly expiresAt?: number;
  readonly account?: string;
}): { readonly credential: Credential; readonly userKey: Nkey } {
  const user = of.user ?? "demo-alice";
  const identity: Identity = {
    user,
    issuer: "demo",
    id: user,
    kind: "user",
    attributes: {},
    proof: { kind: "bearer", hash: "h" },
    provedAt: now(),
    expiresAt: of.expiresAt ?? now() + 3600,
  };
  const limits = { credentialSeconds: 600, payloadBytes: 65_536, connections: 5 };
  const grant: Grant = { user, policy: "p", hash: "g", roles: [], may: [], never: [], limits };
  const inboxPrefix = inboxPrefixOf(keys.clusterSecret.subkey("inbox"), identity, grant);
  const permissions: NatsPermissions = {
    pub: { allow: of.pub },
    sub: { allow: [...of.sub, `${inboxPrefix}.>`] },
  };
  const userKey = createNkey("user");
  const outcome = mintCredential({
    identity,
    grant,
    permissions,
    userPublicKey: userKey.publicKey,
    signer: { accountPublicKey: of.account ?? keys.account, signingKey: keys.signingKey },
    now: now(),
    inboxPrefix,
    controlLineBytesMax: 1_048_576,
  });
  assert.ok(outcome.ok);
  return { credential: outcome.value, userKey };
}

async function dial(
  { jwt, inboxPrefix }: Pick<Credential, "jwt" | "inboxPrefix">,
  userKey: Nkey,
  proxyKey: Nkey | undefined,
  servers: string = server.url,
): Promise<NatsConnection> {
  const connection = await dialAs(servers, { jwt, inboxPrefix, userKey }, proxyKey);
  open.push(connection);
  return connection;
}

function dialGateway(
  user: NatsKeys["control"],
  proxy: "without proxy" | "proxy" = "proxy",
): Promise<NatsConnection> {
  return dial(user, user.userKey, proxy === "proxy" ? keys.proxyKey : undefined);
}

async function dialAdmin(): Promise<NatsConnection> {
  const creds = await readFile(made.adminCredsPath);
  const connection = await connect({ servers: server.url, authenticator: credsAuthenticator(creds) });
  open.push(connection);
  return connection;
}

/** The permission violation that nats-server reports for `act`, before it answers the PING after it. */
async function violationOf(connection: NatsConnection, act: () => unknown): Promise<string> {
  let violation = "none";
  const statuses = connection.status();
  const read = (async () => {
    for await (const status of statuses) {
      if (status.type === "error") violation = String(status.error);
    }
  })();
  act();
  await connection.flush();
  await new Promise(setImmediate);
  (statuses as QueuedIterator<Status>).stop();
  await read;
  return violation;
}

/** The line that nats.js answers INFO with, seen by a listener that is no NATS server. */
async function connectLineOf(credential: Credential, userKey: Nkey): Promise<string> {
  const info = {
    server_id: "x",
    version: "2.15.1",
    proto: 1,
    nonce: "n".repeat(22),
    max_payload: 1,
    headers: true,
  };
  const listener = createServer();
  const line = new Promise<string>((resolve) => {
    listener.once("connection", (socket) => {
      socket.write(`INFO ${JSON.stringify(info)}\r\n`);
      let text = "";
      socket.on("data", (chunk) => {
        text += chunk.toString();
        const found = /^CONNECT (.*)\r\n/.exec(text)?.[1];
        if (found === undefined) return;
        resolve(found);
        socket.destroy();
      });
    });
  });
  await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
  const address = listener.address();
  assert.ok(address !== null && typeof address === "object");
  const dialled = dial(credential, userKey, keys.proxyKey, `127.0.0.1:${address.port}`).catch(
    () => undefined,
  );
  const found = await line;
  await dialled;
  await new Promise((resolve) => listener.close(resolve));
  return found;
}
