/** What one more Server-Sent Events reader costs the gateway, beside one more idle keep-alive connection. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { get } from "node:http";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startStack } from "@countersign/devstack/stack.ts";

const READERS = 400;
const MESSAGES = 50;

const POLICY = `version: 1
roles:
  reader:
    given-to: [ { issuer: demo, groups: Orders.Clerks } ]
    may: [ 'publish orders.{region}.*', 'subscribe orders.{region}.>' ]
    limits: { connections: ${READERS} }
`;

export async function run(_options: { readonly seconds: number }): Promise<Record<string, number>> {
  const stateDir = await mkdtemp(join(tmpdir(), "countersign-bench-"));
  const policyFile = join(stateDir, "policy.yaml");
  await writeFile(policyFile, POLICY);
  const stack = await startStack({ stateDir, policyFile });
  const open: { destroy(): unknown }[] = [];
  try {
    const { pid } = stack.gateway();
    const token = stack.identityProvider.tokenFor("alice");
    const publish = `${stack.gatewayUrl}/v1/publish?subject=orders.eu.1`;
    const headers = { authorization: `Bearer ${token}` };
    const before = await residentBytes(pid);
    for (let n = 0; n < READERS; n += 1) open.push(await idle(Number(new URL(stack.gatewayUrl).port)));
    const withIdle = await residentBytes(pid);

    const received = { events: 0, enough: Promise.withResolvers<void>() };
    for (let n = 0; n < READERS; n += 1)
      open.push(await read(`${stack.gatewayUrl}/v1/subscribe?subject=orders.eu.%3E`, headers, received));
    const withReaders = await residentBytes(pid);

    const began = performance.now();
    for (let n = 0; n < MESSAGES; n += 1) await fetch(publish, { method: "POST", headers, body: `${n}` });
    await received.enough.promise;
    const seconds = (performance.now() - began) / 1000;
    return {
      bytesPerIdleHttpConnection: (withIdle - before) / READERS,
      bytesPerReader: (withReaders - withIdle) / READERS,
      eventsPerSecond: (READERS * MESSAGES) / seconds,
    };
  } finally {
    for (const each of open) each.destroy();
    await stack.stop();
    await rm(stateDir, { recursive: true, force: true });
  }
}

function idle(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () =>
      socket.write("GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"),
    );
    socket.once("data", () => resolve(socket)).once("error", reject);
  });
}

async function read(
  url: string,
  headers: Record<string, string>,
  received: { events: number; readonly enough: PromiseWithResolvers<void> },
): Promise<{ destroy(): unknown }> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const request = get(url, { headers, agent: false }, (response) => {
    response.setEncoding("utf8").on("error", () => {});
    response.on("data", (text: string) => {
      resolve();
      received.events += text.split("\ndata: ").length - 1 + (text.startsWith("data: ") ? 1 : 0);
      if (received.events >= READERS * MESSAGES) received.enough.resolve();
    });
  });
  request.once("error", reject);
  await promise;
  request.on("error", () => {});
  return request;
}

/** @returns what the process holds in memory, from /proc; NaN on systems without */
async function residentBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) * 1024;
}
