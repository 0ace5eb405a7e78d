import { connect, isIP, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { GatewayError, messageOf } from "../../errors.ts";
import { type Answer, inOrder, type NatsServers, unfitVersion, type Ways, waysOf } from "../dial.ts";
import type { ServerWish } from "../identity-connection.ts";
import { parseInfo, type ServerInfo } from "./info.ts";

export interface NativeDialAs {
  readonly wish: ServerWish;
  /** Makes CONNECT's JSON, with the credential and the proofs over the nonce. */
  readonly connect: (nonce: string) => Readonly<Record<string, unknown>> & Answer;
}

/** A connection that nats-server has accepted; nothing has been read beyond its first PONG. */
export interface Dialled {
  readonly socket: Socket;
  readonly info: ServerInfo;
  /** `host:port` as configured. */
  readonly server: string;
  /** What came after the PONG in the same chunk. */
  readonly rest: Buffer;
}

/** @throws GatewayError `NATS_UNREACHABLE`, `NATS_UNFIT` */
export type NativeDial = (as: NativeDialAs) => Promise<Dialled>;

/** INFO with the addresses of a large cluster. */
const GREETING_BYTES_MAX = 256 * 1024;

/**
 * Dials nats-server for its bare protocol, by the same rules as every other connection of ours: the servers that are
 * configured and no other, TLS wherever one of them needs it, no server older than may be used.
 *
 * @throws GatewayError `CONFIG_INVALID` for servers that cannot be dialled safely
 */
export function createNativeDial(options: NatsServers): NativeDial {
  const ways = waysOf(options);
  const addresses = ways.servers.map(({ address }) => address);

  return async function dial(as) {
    let last: GatewayError | undefined;
    for (const address of inOrder(addresses, as.wish.first, as.wish.last)) {
      try {
        return await dialOne(address, as, ways, options.tls);
      } catch (error) {
        last = error instanceof GatewayError ? error : unreachable(address, messageOf(error));
        // A server that refuses what it is shown would be followed by others that do.
        if (!(error instanceof NotReached)) throw last;
      }
    }
    throw last ?? unreachable("NATS", "no server is configured");
  };
}

/** Nobody answered there: another server may. */
class NotReached extends GatewayError {}

async function dialOne(
  address: string,
  { connect: connectOf }: NativeDialAs,
  { servers, encrypted, dialTimeoutMs }: Ways,
  tls: NatsServers["tls"],
): Promise<Dialled> {
  const place = servers.find((server) => server.address === address);
  if (!place) throw unreachable(address, "it is not configured");
  const { host, port } = place;
  const plain = connect({ host, port, noDelay: true });
  let socket: Socket = plain;
  const timer = setTimeout(() => socket.destroy(new Error("timeout")), dialTimeoutMs);
  try {
    const greeting = new Lines(plain);
    const info = await greetedBy(greeting, address);
    let lines = greeting;
    if (encrypted) {
      if (!info.tlsRequired) throw unfit(`${address} offers no TLS`);
      if (greeting.rest.length > 0) throw unfit(`${address} speaks before it is encrypted`);
      greeting.release();
      const named = isIP(host) === 0 ? { servername: host } : {};
      socket = connectTls({ socket: plain, host, ...named, ...tls });
      lines = new Lines(socket);
    }
    const { nonce } = info;
    if (nonce === undefined) throw unfit(`${address} sends no nonce to sign`);
    socket.write(`CONNECT ${JSON.stringify(connectOf(nonce))}\r\nPING\r\n`);
    const latest = await acceptedBy(lines, info, address);
    lines.release();
    return { socket, info: latest, server: address, rest: lines.rest };
  } catch (error) {
    socket.destroy();
    plain.destroy();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

async function greetedBy(lines: Lines, address: string): Promise<ServerInfo> {
  const line = await lines.next().catch((error: unknown) => {
    throw new NotReached("NATS_UNREACHABLE", `cannot connect to NATS at ${address}: ${messageOf(error)}`);
  });
  const info = line.startsWith("INFO ") ? parseInfo(line.slice(5)) : undefined;
  if (!info) throw unfit(`${address} does not greet as nats-server does`);
  const fault = unfitVersion(info.version);
  if (fault !== undefined) throw unfit(fault);
  return info;
}

/** Reads up to the PONG. nats-server sends INFO again once it knows who is there: the later one holds. */
async function acceptedBy(lines: Lines, first: ServerInfo, address: string): Promise<ServerInfo> {
  let info = first;
  for (;;) {
    const line = await lines.next();
    if (line === "PONG") return info;
    if (line.startsWith("-ERR")) throw unreachable(address, line.slice(5));
    if (line.startsWith("INFO ")) info = parseInfo(line.slice(5)) ?? info;
  }
}

function unreachable(address: string, why: string): GatewayError {
  return new GatewayError("NATS_UNREACHABLE", `cannot connect to NATS at ${address}: ${why}`);
}

function unfit(why: string): GatewayError {
  return new GatewayError("NATS_UNFIT", why);
}

/** The lines of a socket, one asked for at a time. */
class Lines {
  rest: Buffer = Buffer.alloc(0);
  readonly #socket: Socket;
  #wake: () => void = () => {};
  #failure: Error | undefined;
  readonly #onData = (chunk: Buffer): void => {
    this.rest = Buffer.concat([this.rest, chunk]);
    if (this.rest.length > GREETING_BYTES_MAX) this.#onFail(new Error("it says too much before it is asked"));
    this.#wake();
  };
  readonly #onFail = (error?: Error): void => {
    this.#failure ??= error instanceof Error ? error : new Error("the connection was closed");
    this.#wake();
  };

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", this.#onData).on("error", this.#onFail).on("close", this.#onFail);
  }

  async next(): Promise<string> {
    for (;;) {
      const end = this.rest.indexOf("\r\n");
      if (end >= 0) {
        const line = this.rest.toString("utf8", 0, end);
        this.rest = this.rest.subarray(end + 2);
        return line;
      }
      if (this.#failure) throw this.#failure;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** Lets go of the socket, paused: what comes from now on waits for whoever reads next. */
  release(): void {
    this.#socket.off("data", this.#onData).off("error", this.#onFail).off("close", this.#onFail);
    this.#socket.pause();
  }
}
