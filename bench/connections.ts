/**
 * What a thousand identities cost: opening their connections, keeping them, and publishing on them; beside it,
 * bare nats.js connections of one user. nats-server runs on the same machine and takes its share of the time.
 */
import { setImmediate as turn } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { NatsConnection } from "@nats-io/transport-node";
import type { Connection } from "countersign/nats/connection.ts";
import { createPool } from "countersign/nats/pool.ts";
import {
  identityDialOf,
  startCluster,
  type TestCluster,
  testClock,
  userOf,
} from "countersign/nats/testing/cluster.ts";

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

const CONNECTIONS = 1_000;
const DIALS_AT_ONCE = 50;
const PUBLISHES_A_TURN = 64;

export async function run({ seconds }: { readonly seconds: number }): Promise<Record<string, number>> {
  const cluster = await startCluster();
  try {
    const { jwt, userKey } = await cluster.adminUser();
    const answer = (nonce: string) => ({ jwt, sig: userKey.sign(nonce).toString("base64url") });
    const bareConnections: NatsConnection[] = [];
    const bare = await openAll(async () => {
      bareConnections.push(await cluster.dial({ name: "bare", inboxPrefix: "_INBOX", answer }));
    });
    await Promise.all(bareConnections.map((connection) => connection.close()));
    return {
      "bare connections opened a second": bare.perSecond,
      "kB a bare connection": bare.kilobytesEach,
      ...(await measurePool(cluster, seconds)),
    };
  } finally {
    await cluster.close();
  }
}

async function measurePool(cluster: TestCluster, seconds: number): Promise<Record<string, number>> {
  const pool = createPool({ ...identityDialOf(cluster), clock: testClock, onFault: console.error });
  const connections: Connection[] = [];
  try {
    const pooled = await openAll(async (index) => {
      const { identity, grant } = userOf(String(index));
      const outcome = await pool.connectionFor(identity, grant);
      if (!outcome.ok) throw new Error(JSON.stringify(outcome.refusal));
      connections.push(outcome.value);
    });
    return {
      "identities' connections opened a second": pooled.perSecond,
      "kB an identity's connection": pooled.kilobytesEach,
      "µs a publish, all on one of them": await publishCost(connections.slice(0, 1), seconds),
      "µs a publish, spread over all": await publishCost(connections, seconds),
    };
  } finally {
    await pool.close();
  }
}

async function openAll(
  open: (index: number) => Promise<unknown>,
): Promise<{ perSecond: number; kilobytesEach: number }> {
  const bytesBefore = bytesInUse();
  const startedAt = performance.now();
  for (let from = 0; from < CONNECTIONS; from += DIALS_AT_ONCE)
    await Promise.all(Array.from({ length: DIALS_AT_ONCE }, (_, index) => open(from + index)));
  return {
    perSecond: (CONNECTIONS * 1_000) / (performance.now() - startedAt),
    kilobytesEach: (bytesInUse() - bytesBefore) / CONNECTIONS / 1_000,
  };
}

function bytesInUse(): number {
  collectGarbage();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** Seven headers of the size that a seal has, 200 bytes of payload. */
async function publishCost(connections: readonly Connection[], seconds: number): Promise<number> {
  const message = {
    subject: "orders.eu.1.create",
    payload: Buffer.alloc(200, "x"),
    headers: [
      ["Seal-Claims", "e".repeat(600)],
      ["Seal-Path", "1.".padEnd(100, "e")],
      ["Seal-Root", "e".repeat(400)],
      ["Nats-Msg-Id", "01906d9e-0000-7000-8000-000000000000"],
      ["traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"],
      ["Content-Type", "application/json"],
      ["order-class", "express"],
    ] as const,
  };
  const startedAt = performance.now();
  let published = 0;
  while (performance.now() - startedAt < seconds * 1_000) {
    for (let index = 0; index < PUBLISHES_A_TURN; index++) {
      const connection = connections[published % connections.length];
      if (connection?.publish(message).ok) published += 1;
      // More than the server has taken yet: its time counts too.
      else await connection?.confirm(message.subject);
    }
    await turn();
  }
  return ((performance.now() - startedAt) * 1_000) / published;
}
