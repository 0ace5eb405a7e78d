/**
 * What a native connection through the gateway costs beside one to nats-server's own WebSocket: the same stock client,
 * taking turns in one run. What a client receives passes as it is; what it publishes is sealed.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startNatsServer } from "@countersign/devstack/nats-server.ts";
import { findFreePort } from "@countersign/devstack/ports.ts";
import { startStack } from "@countersign/devstack/stack.ts";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { type NativeLoadPlan, nativeLoad, WINDOW_BYTES } from "./native-load.ts";

const ROUNDS = 1;
const SIZES = [64, 1_024, 16_384];
/** 8 MiB on their way: an eighth of what nats-server keeps for a slow consumer. */
const WINDOWS = 16;

const POLICY = `version: 1
roles:
  bench:
    given-to: [ { issuer: demo, groups: Orders.Clerks } ]
    may: [ connect native, publish lab.>, subscribe lab.> ]
    limits: { payload: 1MiB }
`;

/** A place to connect to, and a connection of ours to the nats-server behind it. */
interface Way {
  readonly url: string;
  readonly token?: string;
  readonly source: NatsConnection;
}

export async function run({ seconds }: { readonly seconds: number }): Promise<Record<string, number>> {
  const folder = await mkdtemp(join(tmpdir(), "countersign-bench-"));
  const policyFile = join(folder, "policy.yaml");
  await writeFile(policyFile, POLICY);
  const stack = await startStack({ stateDir: join(folder, "stack"), policyFile });
  const [port, webSocketPort] = [await findFreePort(), await findFreePort()];
  const config = `websocket { listen: "127.0.0.1:${webSocketPort}", no_tls: true }`;
  const server = await startNatsServer({ config, port });
  const source = await connect({ servers: server.url });
  try {
    const direct: Way = { url: `ws://127.0.0.1:${webSocketPort}`, source };
    const native: Way = {
      url: `${stack.gatewayUrl.replace("http", "ws")}/v1/nats`,
      token: stack.identityProvider.tokenFor("alice"),
      source: stack.admin,
    };
    const figures: Record<string, number> = {};
    for (const bytes of SIZES) {
      for (const job of ["receive", "publish"] as const) {
        Object.assign(figures, await compare(direct, native, { job, bytes, seconds }));
      }
    }
    return { ...figures, ...(await latencies(direct, native, seconds)) };
  } finally {
    await source.close();
    await server.stop();
    await stack.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

type Job = Pick<NativeLoadPlan, "job" | "bytes" | "seconds">;

async function compare(direct: Way, native: Way, job: Job): Promise<Record<string, number>> {
  const rates: { direct: number[]; native: number[] } = { direct: [], native: [] };
  for (let round = 0; round < ROUNDS; round += 1) {
    rates.direct.push(await rateOf(direct, job));
    rates.native.push(await rateOf(native, job));
  }
  const [ours, theirs] = [median(rates.native), median(rates.direct)];
  const name = `${job.job} ${job.bytes} B${job.job === "publish" ? ", sealed" : ""}`;
  return {
    [`${name}: ratio`]: ours / theirs,
    [`${name}: nativePerSecond`]: ours,
    [`${name}: directPerSecond`]: theirs,
  };
}

async function rateOf(way: Way, job: Job): Promise<number> {
  const stop = job.job === "receive" ? feed(way.source, job.bytes) : () => {};
  const { perSecond } = await nativeLoad({ ...planOf(way), ...job });
  stop();
  return perSecond;
}

async function latencies(direct: Way, native: Way, seconds: number): Promise<Record<string, number>> {
  const job: Job = { job: "latency", bytes: 256, seconds };
  const [theirs, ours] = [
    await nativeLoad({ ...planOf(direct), ...job }),
    await nativeLoad({ ...planOf(native), ...job }),
  ];
  return {
    "added p50 of a PING, ms": ours.pingP50Ms - theirs.pingP50Ms,
    "added p50 of a sealed message to oneself, ms": ours.messageP50Ms - theirs.messageP50Ms,
    "direct p50 of a PING, ms": theirs.pingP50Ms,
    "direct p50 of a message to oneself, ms": theirs.messageP50Ms,
  };
}

function planOf({ url, token }: Way): Pick<NativeLoadPlan, "url" | "token"> {
  return { url, ...(token !== undefined && { token }) };
}

/** Sends as fast as the reader takes it, so many windows at once that the way back holds nothing up. */
function feed(source: NatsConnection, bytes: number): () => void {
  const payload = new Uint8Array(bytes).fill(0x78);
  const window = Math.max(1, Math.floor(WINDOW_BYTES / bytes));
  const send = (): void => {
    for (let n = 0; n < window; n += 1) source.publish("lab.flow", payload);
  };
  const begin = source.subscribe("lab.begin", {
    callback: () => {
      for (let n = 0; n < WINDOWS; n += 1) send();
    },
  });
  const got = source.subscribe("lab.got", { callback: send });
  return () => {
    begin.unsubscribe();
    got.unsubscribe();
  };
}

function median(values: readonly number[]): number {
  return [...values].sort((x, y) => x - y)[Math.floor(values.length / 2)] ?? Number.NaN;
}
