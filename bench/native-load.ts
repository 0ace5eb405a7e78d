/**
 * One stock NATS client over a WebSocket, in a process of its own: nats.js takes one transport a process. Reads a plan
 * as JSON on standard input, prints one line of JSON.
 */
import { spawn } from "node:child_process";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { type NatsConnection, wsconnect } from "@nats-io/nats-core";

export interface NativeLoadPlan {
  readonly url: string;
  readonly token?: string;
  readonly job: "receive" | "publish" | "latency";
  readonly bytes: number;
  readonly seconds: number;
}

export interface NativeLoadResult {
  readonly perSecond: number;
  /** Of a PING, and of a message to oneself. */
  readonly pingP50Ms: number;
  readonly messageP50Ms: number;
}

/** What the source may send before the reader has said that it has got the last of them. */
export const WINDOW_BYTES: number = 512 * 1024;
const WARM_UP_SECONDS = 1;

export async function nativeLoad(plan: NativeLoadPlan): Promise<NativeLoadResult> {
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url)], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  child.stdin.end(JSON.stringify(plan));
  // Closing, the client may say more than the result.
  const [line = ""] = (await text(child.stdout)).split("\n");
  return JSON.parse(line) as NativeLoadResult;
}

async function main(): Promise<void> {
  const plan = JSON.parse(await text(process.stdin)) as NativeLoadPlan;
  const nc = await wsconnect({
    servers: plan.url,
    reconnect: false,
    ...(plan.token !== undefined && { token: plan.token }),
  });
  const none = { perSecond: 0, pingP50Ms: 0, messageP50Ms: 0 };
  const result =
    plan.job === "latency"
      ? { ...none, ...(await latency(nc, plan)) }
      : { ...none, perSecond: await (plan.job === "receive" ? receive : publish)(nc, plan) };
  console.log(JSON.stringify(result));
  await nc.close();
}

/** Counts what comes, and says so for each window. */
async function receive(nc: NatsConnection, { bytes, seconds }: NativeLoadPlan): Promise<number> {
  const window = Math.max(1, Math.floor(WINDOW_BYTES / bytes));
  let count = 0;
  nc.subscribe("lab.flow", {
    callback: () => {
      count += 1;
      if (count % window === 0) nc.publish("lab.got");
    },
  });
  await nc.flush();
  nc.publish("lab.begin");
  await after(WARM_UP_SECONDS);
  const [from, began] = [count, performance.now()];
  await after(seconds);
  const perSecond = ((count - from) * 1000) / (performance.now() - began);
  nc.publish("lab.end");
  await nc.flush();
  return perSecond;
}

/** Publishes by the window and waits until nats-server has got it; eight at once, so that the way back holds nothing up. */
async function publish(nc: NatsConnection, { bytes, seconds }: NativeLoadPlan): Promise<number> {
  const window = Math.max(1, Math.floor(WINDOW_BYTES / bytes));
  const payload = new Uint8Array(bytes).fill(0x78);
  let count = 0;
  let stopped = false;
  const loop = async (): Promise<void> => {
    while (!stopped) {
      for (let n = 0; n < window; n += 1) nc.publish("lab.none", payload);
      await nc.flush();
      count += window;
    }
  };
  const loops = Array.from({ length: 8 }, loop);
  await after(WARM_UP_SECONDS);
  const [from, began] = [count, performance.now()];
  await after(seconds);
  const perSecond = ((count - from) * 1000) / (performance.now() - began);
  stopped = true;
  await Promise.all(loops);
  return perSecond;
}

async function latency(
  nc: NatsConnection,
  { bytes, seconds }: NativeLoadPlan,
): Promise<Pick<NativeLoadResult, "pingP50Ms" | "messageP50Ms">> {
  const payload = new Uint8Array(bytes).fill(0x78);
  let arrived = Promise.withResolvers<void>();
  nc.subscribe("lab.self", { callback: () => arrived.resolve() });
  await nc.flush();
  const once = async (): Promise<void> => {
    arrived = Promise.withResolvers();
    nc.publish("lab.self", payload);
    await arrived.promise;
  };
  const pingP50Ms = await p50(() => nc.flush(), seconds / 2);
  return { pingP50Ms, messageP50Ms: await p50(once, seconds / 2) };
}

async function p50(run: () => Promise<void>, seconds: number): Promise<number> {
  const taken: number[] = [];
  const end = performance.now() + seconds * 1000;
  for (let at = performance.now(); at < end; ) {
    await run();
    const now = performance.now();
    taken.push(now - at);
    at = now;
  }
  taken.sort((a, b) => a - b);
  return taken[Math.floor(taken.length / 2)] ?? Number.NaN;
}

function after(seconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, seconds * 1000));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
