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

/** Real nats-servers with keys as `countersign init` makes them; stopped and removed by `close`. */
export interface TestCluster {
  /** The folder with all of it: `keys` and `offline` as `init` wrote them. */
  readonly home: string;
  readonly keys: NatsKeys;
  /** Of the first server; most tests have no other. */
  readonly url: string;
  readonly urls: readonly string[];
  readonly servers: readonly NatsServer[];
  readonly dial: Dial;
  /** Connected as the administrator of CORE, past every gateway, to this one of the servers. */
  readonly admin: (server?: number) => Promise<NatsConnection>;
  /** The same, whose JWT does not say `proxy_required`. */
  readonly adminUser: () => Promise<GatewayUser>;
  /** Ends the first server; `restart` brings it back on the same port with the same storage. */
  readonly stop: () => Promise<void>;
  readonly restart: () => Promise<void>;
  readonly close: () => Promise<void>;
}

export async function startCluster({
  change = (config) => config,
  size = 1,
}: {
  /** What this test needs otherwise in each server's configuration. */
  readonly change?: (config: string) => string;
  readonly size?: 1 | 2 | 3;
} = {}): Promise<TestCluster> {
  const home = await mkdtemp(join(tmpdir(), "countersign-nats-test-"));
  const { keys, ports, adminCredsPath } = await prepare(home, size);
  const start = async (port: number): Promise<NatsServer> => {
    const folder = join(home, String(port));
    return startNatsServer({
      config: change(await readFile(join(folder, "init.conf"), "utf8")),
      folder,
      port,
    });
  };
  const servers = await Promise.all(ports.map(start));
  const urls = ports.map((port) => `nats://127.0.0.1:${port}`);
  const opened = new Set<NatsConnection>();
  return {
    home,
    keys,
    url: urls[0] ?? "",
    urls,
    servers,
    dial: createDial({ servers: urls }),
    async admin(server = 0) {
      const authenticator = credsAuthenticator(await readFile(adminCredsPath));
      const connection = await connect({
        servers: urls[server] ?? "",
        authenticator,
        ignoreClusterUpdates: true,
      });
      opened.add(connection);
      return connection;
    },
    async adminUser() {
      const creds = parseCreds(await readFile(adminCredsPath, "utf8"));
      if (typeof creds === "string") throw new Error(creds);
      return { ...creds, account: keys.account, inboxPrefix: "_INBOX" };
    },
    stop: async () => servers[0]?.stop(),
    async restart() {
      await servers[0]?.stop();
      servers[0] = await start(ports[0] ?? 0);
    },
    async close() {
      for (const connection of opened) await connection.close();
      await Promise.all(servers.map((server) => server.stop()));
      await rm(home, { recursive: true, force: true });
    },
  };
}

/** Keys, and a folder with a configuration for each server. */
async function prepare(home: string, size: number) {
  const ports = await Promise.all(Array.from({ length: size }, freePort));
  const routePorts = await Promise.all(Array.from({ length: size }, freePort));
  const routes = routePorts.map((port) => `nats://127.0.0.1:${port}`);
  const result = await initKeys({
    keysDirectory: join(home, "keys"),
    offlineDirectory: join(home, "offline"),
    servers: ports.map((port, index) => ({
      name: size === 1 ? "test" : `test-${index}`,
      host: "127.0.0.1",
      port,
      storeDir: "store",
      loopbackWithoutTls: true,
      configPath: join(home, String(port), "init.conf"),
      ...(size > 1 && {
        cluster: { name: "test", host: "127.0.0.1", port: routePorts[index] ?? 0, routes },
      }),
    })),
    now: Math.floor(Date.now() / 1000),
  });
  return { ports, adminCredsPath: result.adminCredsPath, keys: await loadNatsKeys(join(home, "keys")) };
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
        signer: { signingKey: keys.signingKey, accountPublicKey: keys.account },
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
