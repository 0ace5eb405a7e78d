/**
 * An HTTP load of its own process: keep-alive connections, one request in flight on each, over bare sockets, so
 * that the load costs far less than what it measures. Bounded in time; prints one line of JSON.
 *
 * Run as `node bench/load.ts`, with a `LoadPlan` as JSON on standard input.
 */
import { spawn } from "node:child_process";
import { connect, type Socket } from "node:net";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";

export interface LoadPlan {
  readonly port: number;
  readonly connections: number;
  readonly warmUpSeconds: number;
  readonly seconds: number;
  readonly path: string;
  readonly body: string;
  /** One per connection, in turn. */
  readonly authorizations: readonly string[];
  /** What every answer must begin with: a refusal measured as a success would flatter. */
  readonly expect: string;
}

export interface LoadResult {
  readonly requests: number;
  readonly seconds: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly unexpected: number;
}

/** Runs a plan in a process of its own. */
export async function load(plan: LoadPlan): Promise<LoadResult> {
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url)], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  child.stdin.end(JSON.stringify(plan));
  return JSON.parse(await text(child.stdout)) as LoadResult;
}

async function main(): Promise<void> {
  const plan = JSON.parse(await text(process.stdin)) as LoadPlan;
  const latencies: number[] = [];
  const state = { measuring: false, stopped: false, unexpected: 0 };
  const sockets = await Promise.all(
    Array.from({ length: plan.connections }, (_, index) => drive(plan, index, latencies, state)),
  );
  await after(plan.warmUpSeconds);
  state.measuring = true;
  const began = performance.now();
  await after(plan.seconds);
  state.stopped = true;
  const seconds = (performance.now() - began) / 1000;
  for (const socket of sockets) socket.destroy();
  latencies.sort((a, b) => a - b);
  const result: LoadResult = {
    requests: latencies.length,
    seconds,
    p50Ms: latencies[Math.floor(latencies.length * 0.5)] ?? 0,
    p99Ms: latencies[Math.floor(latencies.length * 0.99)] ?? 0,
    unexpected: state.unexpected,
  };
  console.log(JSON.stringify(result));
}

/** Sends the next request as soon as the answer to the last is whole. */
function drive(
  plan: LoadPlan,
  index: number,
  latencies: number[],
  state: { measuring: boolean; stopped: boolean; unexpected: number },
): Promise<Socket> {
  const authorization = plan.authorizations[index % plan.authorizations.length] ?? "";
  const request = Buffer.from(
    `POST ${plan.path} HTTP/1.1\r\nHost: 127.0.0.1:${plan.port}\r\nAuthorization: ${authorization}\r\n` +
      `Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(plan.body)}\r\n\r\n${plan.body}`,
  );
  return new Promise((resolve, reject) => {
    const socket = connect({ port: plan.port, host: "127.0.0.1", noDelay: true });
    let sentAt = 0;
    let answer = "";
    const send = (): void => {
      sentAt = performance.now();
      socket.write(request);
    };
    socket.once("connect", () => {
      resolve(socket);
      send();
    });
    socket.once("error", reject);
    socket.on("data", (chunk) => {
      answer += chunk.toString("latin1");
      if (!isWhole(answer)) return;
      if (state.measuring) latencies.push(performance.now() - sentAt);
      if (!answer.startsWith(plan.expect)) state.unexpected += 1;
      answer = "";
      if (!state.stopped) send();
    });
  });
}

function isWhole(answer: string): boolean {
  const head = answer.indexOf("\r\n\r\n");
  if (head < 0) return false;
  const [, length = "0"] = /content-length: (\d+)/i.exec(answer) ?? [];
  return answer.length >= head + 4 + Number(length);
}

function after(seconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, seconds * 1000));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
