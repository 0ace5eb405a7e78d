/** How long after a kick was asked for the last of a user's connections is gone, beside nats-server's own KICK. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { get } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findFreePort } from "@countersign/devstack/ports.ts";
import { type Stack, startStack } from "@countersign/devstack/stack.ts";
import { wsconnect } from "@nats-io/nats-core";
import { connect, credsAuthenticator } from "@nats-io/transport-node";
import { loadNatsKeys } from "countersign/credentials/nats-keys.ts";
import { createDial } from "countersign/nats/dial.ts";
import { openSystem } from "countersign/nats/system.ts";

const CONNECTIONS = 200;
const ROUNDS_MAX = 20;

const POLICY = `version: 1
roles:
  reader:
    given-to: [ { issuer: demo, groups: Orders.Clerks } ]
    may: [ connect native, connect direct, 'subscribe orders.{region}.>' ]
    limits: { connections: 1000, payload: 1MiB }
  operator:
    given-to: [ { issuer: demo, groups: Audit } ]
    may: [ end-sessions ]
`;

/** Opens one connection. @returns what fulfils when it is gone */
type Opener = () => Promise<{ readonly gone: Promise<unknown> }>;

export async function run({ seconds }: { readonly seconds: number }): Promise<Record<string, number>> {
  const stateDir = await mkdtemp(join(tmpdir(), "countersign-bench-"));
  const policyFile = join(stateDir, "policy.yaml");
  await writeFile(policyFile, POLICY);
  const ports = { admin: await findFreePort(), nats: await findFreePort() };
  const direct = `  direct: { servers: [ 'nats://127.0.0.1:${ports.nats}' ] }`;
  const configure = (yaml: string): string => yaml.replace(/^ {2}keys: .*$/m, `$&\n${direct}`);
  const stack = await startStack({ stateDir, policyFile, ports, configure });
  try {
    const figures: Record<string, number> = {};
    for (const [name, open] of Object.entries(openersOf(stack)))
      Object.assign(figures, await measure(name, seconds, open, () => kick(stack)));
    return { ...figures, ...(await baseline(stack, stateDir, seconds)) };
  } finally {
    await stack.stop();
    await rm(stateDir, { recursive: true, force: true });
  }
}

function openersOf({ gatewayUrl, identityProvider, nats }: Stack): Readonly<Record<string, Opener>> {
  const token = (): string => identityProvider.tokenFor("alice");
  return {
    sse: () => stream(`${gatewayUrl}/v1/subscribe?subject=orders.eu.%3E`, token()),
    async native() {
      const servers = `${gatewayUrl.replace("http", "ws")}/v1/nats`;
      const connection = await wsconnect({ servers, token: token(), reconnect: false });
      return { gone: connection.closed() };
    },
    async direct() {
      const connection = await connect({
        servers: nats.url,
        token: token(),
        reconnect: false,
        timeout: 15_000,
      });
      return { gone: connection.closed() };
    },
  };
}

/** Rounds of: open all, kick, and note of each when it was gone, counted from when the kick was sent. */
async function measure(
  name: string,
  seconds: number,
  open: Opener,
  end: () => Promise<unknown>,
): Promise<Record<string, number>> {
  const all: number[] = [];
  const last: number[] = [];
  const until = performance.now() + seconds * 1_000;
  for (let round = 0; round < ROUNDS_MAX && (round === 0 || performance.now() < until); round += 1) {
    // A token of the second in which its user was kicked is refused.
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    const opened = await Promise.all(Array.from({ length: CONNECTIONS }, open));
    const goneAt = opened.map(({ gone }) => gone.then(() => performance.now()));
    const askedAt = performance.now();
    await end();
    const times = (await Promise.all(goneAt)).map((at) => at - askedAt);
    all.push(...times);
    last.push(Math.max(...times));
  }
  return {
    [`${name}P50Ms`]: quantile(all, 0.5),
    [`${name}P99Ms`]: quantile(all, 0.99),
    [`${name}LastP50Ms`]: quantile(last, 0.5),
    [`${name}LastMaxMs`]: Math.max(...last),
  };
}

function quantile(values: readonly number[], at: number): number {
  const sorted = values.toSorted((one, other) => one - other);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * at))] ?? Number.NaN;
}

/** The same number of plain connections, each closed by a KICK of the system account. */
async function baseline(stack: Stack, stateDir: string, seconds: number): Promise<Record<string, number>> {
  const { system: user, proxyKey, account } = await loadNatsKeys(join(stateDir, "nats"));
  if (!user || !proxyKey) throw new Error("init makes a user of the system account");
  const system = openSystem({
    dial: createDial({ servers: [stack.nats.url] }),
    user,
    proxyKey,
    instance: "bench",
  });
  await new Promise<void>((resolve) => system.onConnect(resolve));
  const authenticator = credsAuthenticator(await readFile(stack.adminCredsFile));
  const open = async () => {
    const connection = await connect({
      servers: stack.nats.url,
      authenticator,
      name: "kicked",
      reconnect: false,
    });
    return { gone: connection.closed() };
  };
  try {
    return await measure("bareKick", Math.min(1, seconds), open, async () => {
      const { connections } = await system.connections([account]);
      for (const each of connections) if (each.name === "kicked") void system.kick(each);
    });
  } finally {
    await system.close();
  }
}

async function kick({ adminUrl, identityProvider }: Stack): Promise<void> {
  const answer = await fetch(`${adminUrl}/v1/kick`, {
    method: "POST",
    headers: { authorization: `Bearer ${identityProvider.tokenFor("carol")}` },
    body: JSON.stringify({ user: "demo-alice" }),
  });
  if (!answer.ok) throw new Error(`not kicked: ${answer.status} ${await answer.text()}`);
}

async function stream(url: string, token: string): Promise<{ readonly gone: Promise<unknown> }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ readonly gone: Promise<unknown> }>();
  get(url, { headers: { authorization: `Bearer ${token}` }, agent: false }, (response) => {
    const gone = new Promise((ended) => response.once("close", ended));
    response.on("error", () => {}).once("data", () => resolve({ gone }));
  }).once("error", reject);
  return promise;
}
