import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type NatsServer, startNatsServer } from "@countersign/devstack/nats-server.ts";
import { connect, credsAuthenticator, type NatsConnection } from "@nats-io/transport-node";
import { parseCreds } from "../../credentials/creds.ts";
import { initKeys } from "../../credentials/init.ts";
import { type GatewayUser, loadNatsKeys, type NatsKeys } from "../../credentials/nats-keys.ts";
import { mintCredential } from "../../credentials/user.ts";
import type { Identity } from "../../identity/identity.ts";
import type { Grant, NatsPermissions } from "../../policy/grant.ts";
import type { Clock } from "../../time.ts";
import type { OpenControl } from "../control.ts";
import { createDial, type Dial } from "../dial.ts";
import { createIdentityDial } from "../identity-dial.ts";
import type { PoolParts } from "../pool.ts";

/** A real nats-server with keys as `countersign init` makes them; stopped and removed by `close`. */
export interface TestCluster {
  readonly keys: NatsKeys;
  readonly url: string;
  readonly server: NatsServer;
  readonly dial: Dial;
  /** Connected as the administrator of CORE, past every gateway. */
  readonly admin: () => Promise<NatsConnection>;
  /** The same, whose JWT does not say `proxy_required`. */
  readonly adminUser: () => Promise<GatewayUser>;
  /** Ends nats-server the hard way; `restart` brings it back on the same port with the same storage. */
  readonly stop: () => Promise<void>;
  readonly restart: () => Promise<void>;
  readonly close: () => Promise<void>;
}

export async function startCluster(
  change: (config: string) => string = (config) => config,
): Promise<TestCluster> {
  const home = await mkdtemp(join(tmpdir(), "countersign-nats-test-"));
  const port = await freePort();
  const configPath = join(home, "init", "nats-server.conf");
  const result = await initKeys({
    keysDirectory: join(home, "keys"),
    offlineDirectory: join(home, "offline"),
    servers: [
      { name: "test", host: "127.0.0.1", port, storeDir: "store", loopbackWithoutTls: true, configPath },
    ],
    now: Math.floor(Date.now() / 1000),
  });
  const keys = await loadNatsKeys(join(home, "keys"));
  const config = change(await readFile(configPath, "utf8"));
  let server = await startNatsServer({ config, folder: home, port });
  const url = `nats://127.0.0.1:${port}`;
  const opened = new Set<NatsConnection>();
  return {
    keys,
    url,
    get server() {
      return server;
    },
    dial: createDial({ servers: [url] }),
    async admin() {
      const creds = await readFile(result.adminCredsPath);
      const connection = await connect({ servers: url, authenticator: credsAuthenticator(creds) });
      opened.add(connection);
      return connection;
    },
    async adminUser() {
      const creds = parseCreds(await readFile(result.adminCredsPath, "utf8"));
      if (typeof creds === "string") throw new Error(creds);
      return { ...creds, accountPublicKey: keys.accountPublicKey, inboxPrefix: "_INBOX" };
    },
    stop: () => server.stop(),
    async restart() {
      await server.stop();
      server = await startNatsServer({ config, folder: home, port });
    },
    async close() {
      for (const connection of opened) await connection.close();
      await server.stop();
      await rm(home, { recursive: true, force: true });
    },
  };
}

/** How an instance of this name opens CONTROL. */
export function controlOptionsOf({ keys, dial }: TestCluster, instance: string): OpenControl {
  return {
    dial,
    user: keys.control,
    ...(keys.proxyKey && { proxyKey: keys.proxyKey }),
    instance,
    replicas: 1,
    proofLifeSecondsMax: 3_600,
    auditSeconds: 86_400,
  };
}

export const testClock: Clock = () => Date.now() / 1000;

export interface TestUser {
  readonly identity: Identity;
  readonly grant: Grant;
}

/** An identity under a grant; both are made of as much as the pool looks at. */
export function userOf(
  user: string,
  of: {
    readonly proofHash?: string;
    readonly grantHash?: string;
    readonly seconds?: number;
    readonly credentialSeconds?: number;
    readonly actor?: string;
    readonly clock?: Clock;
  } = {},
): TestUser {
  const now = (of.clock ?? testClock)();
  return {
    identity: {
      user: `test-${user}`,
      issuer: "test",
      id: user,
      kind: "user",
      attributes: {},
      ...(of.actor !== undefined && { actor: { user: `test-${of.actor}` } }),
      proof: { kind: "bearer", hash: of.proofHash ?? `proof-of-${user}` },
      provedAt: now,
      expiresAt: now + (of.seconds ?? 3_600),
    },
    grant: {
      user: `test-${user}`,
      policy: "0",
      hash: of.grantHash ?? "grant",
      roles: [],
      may: [],
      never: [],
      limits: { credentialSeconds: of.credentialSeconds ?? 600, payloadBytes: 1_000_000, connections: 20 },
    },
  };
}

/** How the pool dials for real, with the same permissions for everybody. */
export function identityDialOf(
  cluster: TestCluster,
  {
    pub = { allow: ["orders.>", "time", "echo.>"] },
    sub = { allow: ["orders.>"] },
    clock = testClock,
    dial = cluster.dial,
  }: Partial<NatsPermissions> & { readonly clock?: Clock; readonly dial?: Dial } = {},
): Pick<PoolParts, "dialLink" | "nextExpiry"> {
  const { keys } = cluster;
  return createIdentityDial({
    dial,
    ...(keys.proxyKey && { proxyKey: keys.proxyKey }),
    instance: "test",
    credentialFor(identity, grant, userPublicKey) {
      const inboxPrefix = `_INBOX.${identity.id}`;
      return mintCredential({
        identity,
        grant,
        permissions: {
          pub,
          sub: { ...sub, ...(sub.allow && { allow: [...sub.allow, `${inboxPrefix}.>`] }) },
        },
        userPublicKey,
        signer: keys,
        now: Math.floor(clock()),
        inboxPrefix,
        controlLineBytesMax: 1024 * 1024,
      });
    },
  });
}

/** Waits until `done` says so, looking often. For what no event tells. */
export async function until(done: () => boolean | Promise<boolean>, withinMs = 5_000): Promise<void> {
  const end = Date.now() + withinMs;
  while (!(await done())) {
    if (Date.now() > end) throw new Error(`not within ${withinMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === "object" && address ? address.port : 0;
}
