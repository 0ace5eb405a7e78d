import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import type { FastifyInstance } from "fastify";
import { type WebSocket, WebSocketServer } from "ws";
import type { RequestFacts } from "../admit.ts";
import type { Presented } from "../identity/identity.ts";
import type { NativeClient } from "../native/context.ts";
import type { Native, Place } from "../native/native.ts";
import type { ClientWire } from "../nats/native/client-wire.ts";
import { allowed, type Outcome, type Refusal, refused } from "../refusal.ts";
import type { EndpointParts } from "./parts.ts";
import { problemOf } from "./problem.ts";
import { faultOfHead, RefusalError } from "./server.ts";

export interface NatsParts extends Pick<EndpointParts, "admit" | "presentedOf" | "clock"> {
  readonly native: Native;
  readonly publicUrl: string;
}

/** One WebSocket message: the largest NATS message there is by default, and what clients put together with it. */
const MESSAGE_BYTES_MAX = 8 * 1024 * 1024;
/**
 * Bytes before CONNECT, which carries a token at most: the pieces of a message are kept until its last has come, and a
 * connection that has proved nothing must not have us keep the largest.
 */
const BEFORE_CONNECT_BYTES_MAX = 256 * 1024;
/** How often a client that says nothing is asked whether it is there. */
const PING_MS = 30_000;
/** How long a client may take over what was left when its connection ended. */
const LAST_BYTES_MS = 5_000;
/** How long a refused upgrade may take its answer. */
const LINGER_MS = 1_000;

/**
 * `GET /v1/nats` (WebSocket upgrade): the native NATS protocol. Who presents something is admitted before the 101, and
 * a refusal is an ordinary answer; who presents nothing has to do so in CONNECT, since browsers can set no headers on a
 * WebSocket.
 */
export function addNats(app: FastifyInstance, parts: NatsParts): void {
  const path = `${app.prefix}/v1/nats`;
  const facts = new WeakMap<IncomingMessage, RequestFacts>();
  const sockets = new WebSocketServer({
    ...{ noServer: true, clientTracking: false, perMessageDeflate: false, skipUTF8Validation: true },
    maxPayload: MESSAGE_BYTES_MAX,
  });
  sockets.on("headers", (headers, request) => {
    const id = facts.get(request)?.requestId;
    if (id !== undefined) headers.push(`X-Request-Id: ${id}`);
  });

  // Of a handshake that is one all the same the library refuses what is left to refuse, in an answer without an id.
  sockets.on("wsClientError", (error, socket, request) => {
    const requestId = facts.get(request)?.requestId ?? "";
    const why = error.message;
    refuse(
      socket,
      { reason: "request_invalid", what: "handshake", why },
      { publicUrl: parts.publicUrl, requestId },
    );
  });

  app.get("/v1/nats", () => {
    const why = "expected the upgrade to a WebSocket";
    throw new RefusalError({ reason: "request_invalid", what: "request", why });
  });

  async function upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const { facts: arrived, hop } = app.arrive(request);
    const own = { ...arrived, lane: "nats" };
    facts.set(request, own);
    socket.on("error", ignore);
    const presented = hop.ok ? parts.presentedOf({ raw: request, hop: hop.value }) : hop;
    // What did not come by the right way learns no more than that.
    const fault = hop.ok ? faultOf(request, path) : undefined;
    const place = fault ? refused(fault) : await enter(parts, presented, own);
    if (!place.ok) {
      refuse(socket, place.refusal, { publicUrl: parts.publicUrl, requestId: own.requestId });
      return;
    }
    if (socket.destroyed) return place.value.leave();
    // Called at once, or never for a handshake that is no handshake, which is answered and closed.
    let isOpen = false;
    sockets.handleUpgrade(request, socket, head, (opened) => {
      isOpen = true;
      carry(opened, socket, place.value);
    });
    if (!isOpen) place.value.leave();
  }

  app.server.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    upgrade(request, socket, head).catch(() => socket.destroy());
  });
}

async function enter(
  { admit, native }: NatsParts,
  presented: Outcome<Presented>,
  facts: RequestFacts,
): Promise<Outcome<Place>> {
  const isUnproved = presented.ok && presented.value.proofs.length === 0;
  if (isUnproved) return native.enter({ presented: presented.value, facts, admission: undefined });
  const action = allowed({ verb: "connect" as const, way: "native" as const });
  const admission = await admit({ presented, action, facts });
  if (!admission.ok) return admission;
  if (!presented.ok) return presented;
  return native.enter({ presented: presented.value, facts, admission: admission.value });
}

function faultOf(request: IncomingMessage, path: string): Refusal | undefined {
  const why = faultOfHead(request);
  if (why !== undefined) return { reason: "request_invalid", what: "head", why };
  const [asked = "", query] = (request.url ?? "").split("?", 2);
  if (asked !== path) return { reason: "not_found", path: asked.slice(0, 256) };
  if (query !== undefined) return { reason: "request_invalid", what: "query", why: "expected none" };
  return isHandshake(request)
    ? undefined
    : {
        reason: "request_invalid",
        what: "handshake",
        why: "expected GET, a Sec-WebSocket-Key and version 13",
      };
}

/** @source RFC 6455 §4.2.1 */
function isHandshake({ method, headers }: IncomingMessage): boolean {
  const { "sec-websocket-key": key, "sec-websocket-version": version } = headers;
  return method === "GET" && version === "13" && /^[+/0-9A-Za-z]{22}==$/.test(key ?? "");
}

/** There is no response object once the protocol is to change. */
function refuse(socket: Duplex, refusal: Refusal, where: Parameters<typeof problemOf>[1]): void {
  const { status, headers, body } = problemOf(refusal, where);
  const text = JSON.stringify(body);
  const lines = [
    `HTTP/1.1 ${status} ${body.title}`,
    `X-Request-Id: ${where.requestId}`,
    "X-Content-Type-Options: nosniff",
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    `Content-Length: ${Buffer.byteLength(text)}`,
    "Connection: close",
  ];
  socket.end(`${lines.join("\r\n")}\r\n\r\n${text}`);
  // Closed at once, bytes not yet read would reset the connection and take the answer with them.
  setTimeout(() => socket.destroy(), LINGER_MS).unref();
}

/** Ties a WebSocket to the client's half of a native connection. */
function carry(webSocket: WebSocket, socket: Duplex, place: Place): void {
  const client = place.begin(wireOf(webSocket, socket));
  webSocket.on("message", (data: Buffer) => client.feed(data));
  boundUntilConnect(webSocket, socket, client);
  webSocket.on("close", () => {
    clearInterval(timer);
    client.closed();
  });
  // Followed by its close, which says the rest.
  webSocket.on("error", ignore);
  socket.on("drain", () => client.drained());
  let isThere = true;
  webSocket.on("pong", () => {
    isThere = true;
  });
  const timer = setInterval(() => {
    // Of one that is not being read, nothing can be heard.
    if (!isThere && !webSocket.isPaused) return webSocket.terminate();
    isThere = webSocket.isPaused;
    webSocket.ping();
  }, PING_MS).unref();
}

function boundUntilConnect(webSocket: WebSocket, socket: Duplex, client: NativeClient): void {
  let bytes = 0;
  const count = (chunk: Buffer): void => {
    bytes += chunk.length;
    // The library has read this chunk already, and a CONNECT in it has been taken.
    if (client.hasConnected) socket.off("data", count);
    else if (bytes > BEFORE_CONNECT_BYTES_MAX) webSocket.terminate();
  };
  socket.on("data", count);
}

/**
 * Messages are framed here and written to the socket beside what the library writes there, which never waits: it takes
 * a message in one piece only, and putting pieces together was the most of the work.
 */
function wireOf(webSocket: WebSocket, socket: Duplex): ClientWire {
  return {
    send(parts) {
      if (webSocket.readyState !== webSocket.OPEN) return;
      socket.cork();
      socket.write(frameHead(parts.reduce((length, part) => length + part.length, 0)));
      for (const part of parts) socket.write(part);
      socket.uncork();
    },
    get unsentBytes() {
      return webSocket.bufferedAmount;
    },
    pause: () => webSocket.pause(),
    resume: () => webSocket.resume(),
    close() {
      webSocket.resume();
      webSocket.close(1000);
      setTimeout(() => webSocket.terminate(), LAST_BYTES_MS).unref();
    },
  };
}

/** FIN, binary, unmasked. @source RFC 6455 §5.2 */
function frameHead(length: number): Buffer {
  if (length < 126) return Buffer.of(FIN_BINARY, length);
  if (length < 65_536) return Buffer.of(FIN_BINARY, 126, length >> 8, length & 0xff);
  const head = Buffer.alloc(10);
  head[0] = FIN_BINARY;
  head[1] = 127;
  head.writeUInt32BE(length, 6);
  return head;
}

const FIN_BINARY = 0x82;

function ignore(): void {}
