import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type GatewayProcess, startGateway } from "@countersign/devstack/gateway-process.ts";
import { type NatsServer, startNatsServer } from "@countersign/devstack/nats-server.ts";
import { type IdentityProvider, startIdentityProvider } from "@countersign/devstack/oidc.ts";
import { findFreePort } from "@countersign/devstack/ports.ts";
import { initKeys } from "countersign/credentials/init.ts";
import { ready } from "./support-operations.ts";

/** One gateway of the cluster. */
export interface ClusterGateway {
  readonly gateway: GatewayProcess;
  /** Its own address: the public URL is one for all, as behind a load balancer. */
  readonly url: string;
  readonly adminUrl: string;
  readonly auditFile: string;
}

/** Three nats-servers and two gateways of one policy, each gateway at home on another server. */
export interface TestCluster {
  readonly folder: string;
  readonly provider: IdentityProvider;
  readonly servers: readonly NatsServer[];
  /** The first one stands at the public URL, so that one can sign in there. */
  readonly first: ClusterGateway;
  readonly second: ClusterGateway;
  readonly adminCredsFile: string;
  readonly stop: () => Promise<void>;
}

/** @param options.direct  lets clients connect to the servers by themselves, each judged by the auth callout */
export async function startTestCluster({
  policy,
  direct = false,
}: {
  readonly policy: string;
  readonly direct?: boolean;
}): Promise<TestCluster> {
  const folder = await mkdtemp(join(tmpdir(), "countersign-three-"));
  const ends: (() => Promise<unknown>)[] = [() => rm(folder, { recursive: true, force: true })];
  const stop = async (): Promise<void> => {
    for (const end of ends.splice(0).reverse()) await end();
  };
  try {
    await writeFile(join(folder, "policy.yaml"), policy);
    const { servers, adminCredsPath } = await startThreeServers(folder);
    ends.push(...servers.map((server) => server.stop));
    const ports = { first: await findFreePort(), second: await findFreePort() };
    const publicUrl = `http://127.0.0.1:${ports.first}`;
    const provider = await startIdentityProvider({ gatewayUrl: publicUrl });
    ends.push(provider.stop);
    await writeFile(join(folder, "client.secret"), provider.gatewayClient.secret, { mode: 0o600 });
    const start = async (name: "first" | "second", home: number): Promise<ClusterGateway> => {
      const urls = [...servers.slice(home), ...servers.slice(0, home)].map(({ url }) => url);
      const gateway = await startOne(folder, name, {
        ...{ publicUrl, port: ports[name], adminPort: await findFreePort() },
        issuer: issuerText(provider, join(folder, "client.secret")),
        nats: `servers: ${JSON.stringify(urls)}, replicas: 3${direct ? `, direct: { servers: ${JSON.stringify(urls)} }` : ""}`,
      });
      ends.push(gateway.gateway.stop);
      return gateway;
    };
    const first = await start("first", 0);
    const second = await start("second", 1);
    return { folder, provider, servers, first, second, adminCredsFile: adminCredsPath, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function startThreeServers(folder: string) {
  const names = ["n1", "n2", "n3"];
  const ports = await Promise.all(
    names.map(async () => ({ client: await findFreePort(), route: await findFreePort() })),
  );
  const routes = ports.map(({ route }) => `nats://127.0.0.1:${route}`);
  const made = await initKeys({
    keysDirectory: join(folder, "keys"),
    offlineDirectory: join(folder, "offline"),
    now: Date.now() / 1000,
    servers: names.map((name, index) => ({
      name,
      host: "127.0.0.1",
      port: ports[index]?.client ?? 0,
      storeDir: join(folder, name),
      loopbackWithoutTls: true,
      configPath: join(folder, `${name}.conf`),
      cluster: { name: "three", host: "127.0.0.1", port: ports[index]?.route ?? 0, routes },
    })),
  });
  const servers = await Promise.all(
    made.servers.map(({ config }, index) => startNatsServer({ config, port: ports[index]?.client ?? 0 })),
  );
  return { servers, adminCredsPath: made.adminCredsPath };
}

function issuerText({ issuer, gatewayClient }: IdentityProvider, secretFile: string): string {
  const client = `{ id: ${gatewayClient.id}, secret: { file: ${JSON.stringify(secretFile)} } }`;
  return `url: ${issuer}, audience: countersign, attributes: { groups: groups, region: region }, client: ${client}`;
}

interface GatewayTexts {
  readonly publicUrl: string;
  readonly port: number;
  readonly adminPort: number;
  readonly issuer: string;
  readonly nats: string;
}

async function startOne(
  folder: string,
  name: string,
  { publicUrl, port, adminPort, issuer, nats }: GatewayTexts,
): Promise<ClusterGateway> {
  const configFile = join(folder, `${name}.yaml`);
  const auditFile = join(folder, `${name}.jsonl`);
  await writeFile(
    configFile,
    `public-url: ${publicUrl}
listen: { address: '127.0.0.1:${port}' }
admin: { address: '127.0.0.1:${adminPort}' }
trust-domain: demo.example
issuers: { demo: { ${issuer} } }
nats: { keys: ${JSON.stringify(join(folder, "keys"))}, ${nats} }
policy: ${JSON.stringify(join(folder, "policy.yaml"))}
audit: [ { file: ${JSON.stringify(auditFile)} }, { stream: AUDIT } ]
state: ${JSON.stringify(join(folder, `${name}-state`))}
demo: ${JSON.stringify(join(folder, "page.html"))}
instance: ${name}
`,
  );
  await writeFile(join(folder, "page.html"), "<!doctype html><title>signed in</title>");
  const url = `http://127.0.0.1:${port}`;
  const gateway = await startGateway({ configFile, publicUrl: url });
  await ready(adminPort);
  return { gateway, url, adminUrl: `http://127.0.0.1:${adminPort}`, auditFile };
}
