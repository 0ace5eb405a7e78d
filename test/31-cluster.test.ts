import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { type GatewayProcess, startGateway } from "@countersign/devstack/gateway-process.ts";
import { type NatsServer, startNatsServer } from "@countersign/devstack/nats-server.ts";
import { type IdentityProvider, startIdentityProvider } from "@countersign/devstack/oidc.ts";
import { findFreePort } from "@countersign/devstack/ports.ts";
import { initKeys } from "countersign/credentials/init.ts";
import { type Answer, openStream, send } from "./support.ts";
import { eventually, ready } from "./support-operations.ts";

/** Two gateways of one policy on a NATS cluster of three servers, each gateway at home on another of them. */
interface Node {
  readonly gateway: GatewayProcess;
  /** Its own address: the public URL is one for both, as behind a load balancer. */
  readonly url: string;
  readonly adminPort: number;
}

const POLICY = (subjects: string): string => `version: 1
roles:
  clerk: { given-to: [ { issuer: demo, groups: Orders.Clerks } ], may: [ ${subjects} ] }
  auditor: { given-to: [ { issuer: demo, groups: Audit } ], may: [ push-policy ] }
`;
const BOTH = POLICY("publish orders.>, subscribe orders.>");

let folder: string;
let provider: IdentityProvider;
let servers: readonly NatsServer[] = [];
let publicUrl: string;
let first: Node;
let second: Node;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "countersign-three-"));
  await writeFile(join(folder, "policy.yaml"), BOTH);
  servers = await startThreeServers();
  provider = await startIdentityProvider({});
  publicUrl = `http://127.0.0.1:${await findFreePort()}`;
  first = await startNode("first", 0);
  second = await startNode("second", 1);
});

after(async () => {
  await first?.gateway.stop();
  await second?.gateway.stop();
  await provider?.stop();
  for (const server of servers) await server.stop();
  await rm(folder, { recursive: true, force: true });
});

async function startThreeServers(): Promise<readonly NatsServer[]> {
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
  return await Promise.all(
    made.servers.map(({ config }, index) => startNatsServer({ config, port: ports[index]?.client ?? 0 })),
  );
}

async function startNode(name: string, home: number): Promise<Node> {
  const [port, adminPort] = [await findFreePort(), await findFreePort()];
  const urls = [...servers.slice(home), ...servers.slice(0, home)].map(({ url }) => url);
  const configFile = join(folder, `${name}.yaml`);
  await writeFile(
    configFile,
    `public-url: ${publicUrl}
listen: { address: '127.0.0.1:${port}' }
admin: { address: '127.0.0.1:${adminPort}' }
trust-domain: demo.example
issuers: { demo: { url: ${provider.issuer}, audience: countersign, attributes: { groups: groups } } }
nats: { servers: ${JSON.stringify(urls)}, keys: ${JSON.stringify(join(folder, "keys"))}, replicas: 3 }
policy: ${JSON.stringify(join(folder, "policy.yaml"))}
audit: [ { file: ${JSON.stringify(join(folder, `${name}.jsonl`))} }, { stream: AUDIT } ]
state: ${JSON.stringify(join(folder, `${name}-state`))}
instance: ${name}
`,
  );
  const url = `http://127.0.0.1:${port}`;
  const gateway = await startGateway({ configFile, publicUrl: url });
  await ready(adminPort);
  return { gateway, url, adminPort };
}

async function publish({ url }: Node, body: string): Promise<Answer> {
  const token = provider.tokenFor("alice");
  return await send(`${url}/v1/publish?subject=orders.eu.1`, { method: "POST", token, body });
}

async function versionAt({ adminPort }: Node): Promise<unknown> {
  return (await send(`http://127.0.0.1:${adminPort}/v1/policy`, { token: provider.tokenFor("carol") })).json()
    .version;
}

test("a message published through one gateway is verified by the other", async () => {
  const token = provider.tokenFor("alice");
  const reader = await openStream(`${second.url}/v1/subscribe?subject=orders.%3E`, { token });
  const published = await publish(first, "1");
  assert.equal(published.status, 202, published.text);
  const [event] = await reader.read(1);
  reader.leave();
  const { verified, user } = (event?.data.sender ?? {}) as { verified?: boolean; user?: string };
  assert.deepEqual([verified, user], [true, "demo-alice"]);
});

test("a pushed policy ends what it no longer allows on both gateways, within two seconds", async () => {
  const token = provider.tokenFor("alice");
  const readers = await Promise.all(
    [first, second].map(({ url }) => openStream(`${url}/v1/subscribe?subject=orders.%3E`, { token })),
  );
  const began = performance.now();
  const pushed = await send(`http://127.0.0.1:${first.adminPort}/v1/policy`, {
    method: "POST",
    token: provider.tokenFor("carol"),
    body: JSON.stringify({ files: [{ path: "policy.yaml", text: POLICY("publish orders.>") }] }),
  });
  assert.equal(pushed.status, 200, pushed.text);
  for (const reader of readers) {
    assert.deepEqual(await reader.ended, { event: "end", data: { code: "policy", reconnect: true } });
  }
  assert.ok(performance.now() - began < 2_000, "within two seconds");
  assert.equal(await versionAt(second), pushed.json().version);
});

test("a server that dies takes its gateway to another one, and policies still go live", async () => {
  const [home] = servers;
  await home?.stop();
  await eventually("publishing through the gateway whose server died", async () =>
    (await publish(first, "2")).status === 202 ? true : undefined,
  );
  const answer = await eventually("a majority that takes a push", async () => {
    const pushed = await send(`http://127.0.0.1:${second.adminPort}/v1/policy`, {
      method: "POST",
      token: provider.tokenFor("carol"),
      body: JSON.stringify({ files: [{ path: "policy.yaml", text: BOTH }] }),
    });
    return pushed.status === 200 ? pushed.json() : undefined;
  });
  await eventually("the other gateway to follow", async () =>
    (await versionAt(first)) === answer.version ? true : undefined,
  );
});
