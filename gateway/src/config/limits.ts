import type { z } from "zod";
import { section } from "./section.ts";
import { count, durationMs, durationSeconds, sizeBytes } from "./values.ts";

/** Bounds of what strangers may cost. Each option says unit, bound, default and reason. */
export interface LimitsConfig {
  readonly bodyBytesMax: number;
  readonly headerBytesMax: number;
  readonly headersTimeoutMs: number;
  readonly requestTimeoutMs: number;
  /** Absent: longer than what stands in front keeps its own. */
  readonly keepAliveTimeoutMs?: number;
  readonly connectionsMax: number;
  readonly natsConnectionsMax: number;
  readonly natsIdleSeconds: number;
  readonly tokenBytesMax: number;
  readonly drainTimeoutMs: number;
}

/** As it is used, with what follows from other parts of the configuration. */
export type LimitsInForce = LimitsConfig & Required<Pick<LimitsConfig, "keepAliveTimeoutMs">>;

export function limitsSchema(): z.ZodType<LimitsConfig> {
  return section({
    body: sizeBytes({ from: "1KiB", to: "64MiB" }).prefault("1MiB").meta({
      description:
        "Body of one HTTP request, 1KiB–64MiB. nats-server takes messages of 1MB unless told otherwise.",
    }),
    head: sizeBytes({ from: "4KiB", to: "64KiB" }).prefault("24KiB").meta({
      description:
        "Request line and headers together, 4KiB–64KiB: a token of 8KiB, message headers of 8KiB, and the browser's own.",
    }),
    "head-timeout": durationMs({ from: "1s", to: "1m" }).prefault("10s").meta({
      description:
        "From the first byte of a request to the end of its head, 1s–1m: ends clients that drip bytes.",
    }),
    "request-timeout": durationMs({ from: "1s", to: "10m" }).prefault("30s").meta({
      description:
        "From the first byte of a request to the end of its body, 1s–10m: 1MiB over a slow mobile line.",
    }),
    "keep-alive": durationMs({ from: "1s", to: "10m" }).optional().meta({
      description:
        "How long an idle HTTP connection stays, 1s–10m: longer than what stands in front keeps it, or a request meets one that is closing. Default 75s (most proxies: 60s), behind IIS 4m (it: 2m).",
    }),
    connections: count({ from: 10, to: 100_000 }).prefault(10_000).meta({
      description: "HTTP connections at once, 10–100000; further ones are closed at accept.",
    }),
    "nats-connections": count({ from: 1, to: 100_000 }).prefault(5_000).meta({
      description:
        "NATS connections of users at once, 1–100000: about 35kB each here and 51kB in nats-server.",
    }),
    "nats-idle": durationSeconds({ from: "1s", to: "24h" }).prefault("1m").meta({
      description: "How long a user's NATS connection stays unused, 1s–24h.",
    }),
    token: sizeBytes({ from: "1KiB", to: "16KiB" }).prefault("8KiB").meta({
      description: "One access token, 1KiB–16KiB. Beyond, HTTP servers on the way refuse the header anyway.",
    }),
    drain: durationMs({ from: "0s", to: "10m" }).prefault("10s").meta({
      description: "How long a shutdown waits for requests in flight, 0s–10m. Kubernetes kills after 30s.",
    }),
  }).transform(
    (given): LimitsConfig => ({
      bodyBytesMax: given.body,
      headerBytesMax: given.head,
      headersTimeoutMs: given["head-timeout"],
      requestTimeoutMs: given["request-timeout"],
      ...(given["keep-alive"] !== undefined && { keepAliveTimeoutMs: given["keep-alive"] }),
      connectionsMax: given.connections,
      natsConnectionsMax: given["nats-connections"],
      natsIdleSeconds: given["nats-idle"],
      tokenBytesMax: given.token,
      drainTimeoutMs: given.drain,
    }),
  );
}
