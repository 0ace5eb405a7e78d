import { setTimeout as delay } from "node:timers/promises";
import { type JetStreamClient, type JetStreamManager, jetstream } from "@nats-io/jetstream";
import { type KV, Kvm } from "@nats-io/kv";
import type { NatsConnection } from "@nats-io/transport-node";
import type { GatewayUser } from "../credentials/nats-keys.ts";
import type { Nkey } from "../credentials/nkey.ts";
import { GatewayError, messageOf } from "../errors.ts";
import { BUCKETS, type ControlStreamOptions, controlStreams, ensureStream } from "./control-streams.ts";
import { type Dial, unfitVersion } from "./dial.ts";
import { dialGatewayUser } from "./gateway-user.ts";

/** The gateway's own connection to its account CONTROL, where its state lives. */
export interface Control {
  readonly connection: NatsConnection;
  readonly jetstream: JetStreamClient;
  readonly manager: JetStreamManager;
  readonly options: ControlStreamOptions;
  bucket(name: keyof typeof BUCKETS): KV;
  /** @returns in words why the gateway is not ready, or undefined when it is */
  unready(): string | undefined;
  /** Called with every change of that. @returns stops listening */
  onChange(listener: (unready: string | undefined) => void): () => void;
  close(): Promise<void>;
}

export interface OpenControl extends ControlStreamOptions {
  readonly dial: Dial;
  /** Its JWT, with `proxy_required`, and its key. */
  readonly user: GatewayUser;
  /** Absent where no proxy is trusted. */
  readonly proxyKey?: Nkey;
  /** Shown in nats-server's list of connections. */
  readonly instance: string;
  /** How long to wait at the start for a server and its JetStream, 0–600,000 ms. Default 30,000. */
  readonly startTimeoutMs?: number;
  /** Ends the wait at the start before its time: the operator asked for the end. */
  readonly giveUp?: AbortSignal;
}

export const START_TIMEOUT_MS = 30_000;
const RETRY_WAIT_MS = 250;
/** A request to JetStream in doubt is not made to wait longer. */
const REQUEST_TIMEOUT_MS = 3_000;
const AVOID_UNFIT_WAIT_MS = 1_000;

/**
 * Connects to CONTROL and makes its streams what they should be. It reconnects by itself from then on.
 *
 * @throws GatewayError `NATS_UNREACHABLE` when that was not possible in time; `NATS_UNFIT` at once
 */
export async function openControl(options: OpenControl): Promise<Control> {
  const late = AbortSignal.timeout(options.startTimeoutMs ?? START_TIMEOUT_MS);
  const end = options.giveUp ? AbortSignal.any([late, options.giveUp]) : late;
  const connection = await retrying(end, () =>
    dialGatewayUser({ ...options, name: `countersign/${options.instance} control` }),
  );
  try {
    const client = jetstream(connection, {
      timeout: REQUEST_TIMEOUT_MS,
      watcherPrefix: options.user.inboxPrefix,
    });
    const manager = await retrying(end, async () => {
      const candidate = await client.jetstreamManager();
      for (const wanted of controlStreams(options)) await ensureStream(candidate, wanted);
      return candidate;
    });
    return await controlOf(connection, client, manager, options);
  } catch (error) {
    await connection.close();
    throw error;
  }
}

async function controlOf(
  connection: NatsConnection,
  client: JetStreamClient,
  manager: JetStreamManager,
  options: OpenControl,
): Promise<Control> {
  const kvm = new Kvm(client);
  const opened = new Map<string, KV>();
  for (const [name, bucket] of Object.entries(BUCKETS))
    opened.set(name, await kvm.open(bucket, { allow_direct: false }));
  const listeners = new Set<(unready: string | undefined) => void>();
  let unready: string | undefined;

  function become(state: string | undefined): void {
    if (state === unready) return;
    unready = state;
    for (const listener of listeners) listener(state);
  }

  async function watch(): Promise<void> {
    for await (const { type } of connection.status()) {
      if (type === "disconnect") become("the connection to CONTROL is lost");
      else if (type === "reconnect") become(unfitVersion(connection.info?.version));
      // A cluster with one old server in it: look for another one, and do no work on this.
      if (type === "reconnect" && unready !== undefined)
        setTimeout(() => void connection.reconnect().catch(() => {}), AVOID_UNFIT_WAIT_MS).unref();
    }
    become("the connection to CONTROL is closed");
  }
  void watch();

  return {
    connection,
    jetstream: client,
    manager,
    options,
    bucket(name) {
      const bucket = opened.get(name);
      if (!bucket) throw new Error(`there is no bucket ${name}`);
      return bucket;
    },
    unready: () => unready,
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    close: () => connection.close(),
  };
}

/** A server that has just been started says "no responders" for JetStream, or nothing, for some seconds. */
async function retrying<T>(end: AbortSignal, run: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await run();
    } catch (error) {
      if (error instanceof GatewayError && error.code === "NATS_UNFIT") throw error;
      if (!end.aborted) {
        await delay(RETRY_WAIT_MS);
        continue;
      }
      if (error instanceof GatewayError) throw error;
      const why = messageOf(error);
      throw new GatewayError("NATS_UNREACHABLE", `cannot use JetStream in the account CONTROL: ${why}`, {
        cause: error,
      });
    }
  }
}
