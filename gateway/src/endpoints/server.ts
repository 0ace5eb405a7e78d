import {
  createServer as createHttpServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerOptions,
  type ServerResponse,
} from "node:http";
import { createServer as createHttpsServer } from "node:https";
import type { Socket } from "node:net";
import { uuidv7 } from "@countersign/seal";
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify";
import type { RequestFacts } from "../admit.ts";
import type { Hop, JudgeHop } from "../hop/hop.ts";
import { judgeDirect } from "../hop/judge.ts";
import type { Outcome, Refusal, refused } from "../refusal.ts";
import type { Clock } from "../time.ts";
import { type Arrival, arrivalOf } from "./arrival.ts";
import { corsHeadersOf, preflightHeadersOf } from "./cors.ts";
import { type Problem, problemOf } from "./problem.ts";

declare module "fastify" {
  interface FastifyRequest {
    /** Set before anything else, so that every answer and every record of this request can be joined. */
    facts: RequestFacts;
    /** What the request came through, proven. */
    hop: Hop;
  }
  interface FastifyInstance {
    /** For what does not come by a route, as an upgrade. To be called once for each request. */
    arrive: (request: IncomingMessage) => Arrival;
    /** Says that the body may come, to a caller who waits for that word. For whoever reads it by itself. */
    takeBody: (request: IncomingMessage, response: ServerResponse) => void;
    onFault: EndpointServerOptions["onFault"];
    /** What a caller is told of a refusal. */
    problemOf: (refusal: Refusal, requestId: string) => Problem;
  }
}

export interface EndpointServerOptions {
  /** Without a trailing slash. */
  readonly publicUrl: string;
  /** Origins that may call from a browser, the public one included. */
  readonly origins: ReadonlySet<string>;
  readonly lane: RequestFacts["lane"];
  readonly limits: ServerLimits;
  /** PEM texts; absent = plain HTTP. */
  readonly tls?: {
    readonly cert: string;
    readonly key: string;
    /** Of the authority whose certificate everybody who connects must show. Absent: nobody is asked for one. */
    readonly ca?: string;
  };
  readonly clock: Clock;
  /** Default: nothing stands in front, and whatever claims to come from it is refused. */
  readonly judgeHop?: JudgeHop;
  /** Records a request that is refused for what it came through, since no endpoint sees it. Never rejects. */
  readonly recordRefused?: (facts: RequestFacts, what: string, refusal: Refusal) => Promise<Outcome<void>>;
  /** Faults that are ours: logged, and answered without detail. */
  readonly onFault: (error: unknown, requestId: string) => void;
}

export interface ServerLimits {
  /** Largest request body, bytes. */
  readonly bodyBytesMax: number;
  /** Largest request head, bytes; node:http answers 431 beyond. */
  readonly headerBytesMax: number;
  /** From the first byte of a request to the last of its head, milliseconds: slowloris ends here. */
  readonly headersTimeoutMs: number;
  /** From the first byte of a request to the last of its body, milliseconds. */
  readonly requestTimeoutMs: number;
  /** How long an idle connection waits for its next request, milliseconds. */
  readonly keepAliveTimeoutMs: number;
  /** Connections at once; further ones are closed at accept. */
  readonly connectionsMax: number;
}

/** How often node:http looks for heads and bodies that are late: its own 30 s would allow 40 s for ten. */
const TIMEOUTS_LOOKED_AT_MS = 1_000;

/** How long a connection that is out of step may still take its answer. */
const LINGER_MS = 1_000;

/** How long a connection may take nothing of an answer before it is cut: a large one held open costs its memory. */
const STALLED_MS = 30_000;

/**
 * A listener with what every answer has: `X-Request-Id`, CORS by origins, errors as problem+json, bounded
 * heads, bodies and times, and a close that lets requests in flight finish.
 */
export function createEndpointServer(options: EndpointServerOptions): FastifyInstance {
  const app = fastify({
    bodyLimit: options.limits.bodyBytesMax,
    exposeHeadRoutes: false,
    serverFactory: (handler) => listenerOf(handler, options),
    clientErrorHandler: (_error, socket) => answerUnparsable(socket, options.clock),
    // What arrives while we close is served still: its answer closes its connection.
    return503OnClosing: false,
    // A path that cannot be decoded reaches no route, and so no hook.
    frameworkErrors: (error, request, reply) => {
      setArrival(request, reply, app.arrive(request.raw));
      answerProblem(error, request, reply, options);
    },
  });
  const { publicUrl } = options;
  app.decorate("problemOf", (refusal, requestId) => problemOf(refusal, { publicUrl, requestId }));
  app.decorate("onFault", options.onFault);
  app.decorate("operations", []);
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", { parseAs: "buffer" }, (_request, body, done) => done(null, body));
  addArrival(app, options);
  addBodies(app);
  addCors(app, options);
  addProblems(app, options);
  addDrain(app);
  return app;
}

function listenerOf(handler: RequestListener, { limits, tls }: EndpointServerOptions): Server {
  const http: ServerOptions = {
    maxHeaderSize: limits.headerBytesMax,
    // The head is part of the request, and node:http refuses to start with a longer time for the part.
    headersTimeout: Math.min(limits.headersTimeoutMs, limits.requestTimeoutMs),
    requestTimeout: limits.requestTimeoutMs,
    keepAliveTimeout: limits.keepAliveTimeoutMs,
    connectionsCheckingInterval: TIMEOUTS_LOOKED_AT_MS,
    // Node's lenient parser would let two readers of one stream of bytes disagree on where a request ends.
    insecureHTTPParser: false,
    // Any other upgrade may be passed over, and its request answered (RFC 9110 §7.8).
    shouldUpgradeCallback: ({ headers }) =>
      headers.upgrade?.toLowerCase() === "websocket" && server.listenerCount("upgrade") > 0,
    // Looked at by `faultOfHead`: node:http's own answer has no request id, and it takes a second Host.
    requireHostHeader: false,
  };
  const serve: RequestListener = (request, response) => {
    if (closing.has(request.socket)) request.socket.destroy();
    else handler(request, response);
  };
  const asked = tls?.ca !== undefined && { requestCert: true, rejectUnauthorized: true };
  const server: Server = tls
    ? createHttpsServer({ ...http, ...tls, ...asked }, serve)
    : createHttpServer(http, serve);
  server.maxConnections = limits.connectionsMax;
  // Other expectations than 100-continue may be passed over (RFC 9110 §10.1.1); node:http's own 417 has no request id.
  server.on("checkExpectation", (request, response) => server.emit("request", request, response));
  // Node would say "100 Continue" before anybody has looked at the request.
  server.on("checkContinue", (request, response) => {
    awaitingBody.add(request);
    server.emit("request", request, response);
  });
  server.on("request", (request, response) => latestResponse.set(request.socket, response));
  server.timeout = STALLED_MS;
  server.on("timeout", (socket: Socket) => {
    if (!isWaiting(socket)) socket.destroy();
  });
  return server;
}

/**
 * Whether a connection on which nothing moves waits for us: for a reply from NATS, the next event, or the rest of a
 * body, which has a time of its own. One that leaves unread what we wrote, or asks for nothing, is not.
 */
function isWaiting(socket: Socket): boolean {
  const response = latestResponse.get(socket);
  return response !== undefined && !response.writableFinished && socket.writableLength === 0;
}

/** What a connection was asked for last, so that an answer to bytes that are no request is not taken for its answer. */
const latestResponse = new WeakMap<Socket, ServerResponse>();

function addArrival(
  app: FastifyInstance,
  { clock, lane, judgeHop, recordRefused }: EndpointServerOptions,
): void {
  const parts = { clock, lane, judgeHop: judgeHop ?? judgeDirect({ easyAuth: false }) };
  app.decorate("arrive", (request) => arrivalOf(request, parts));
  app.decorateRequest("facts").decorateRequest("hop");
  app.addHook("onRequest", (request, reply, done) => {
    const { hop } = setArrival(request, reply, app.arrive(request.raw));
    const why = faultOfHead(request.raw);
    if (hop.ok) {
      done(
        why === undefined ? undefined : new RefusalError({ reason: "request_invalid", what: "head", why }),
      );
      return;
    }
    const recorded = recordRefused?.(request.facts, whatOf(request), hop.refusal) ?? Promise.resolve(hop);
    void recorded.then((written) => done(new RefusalError(written.ok ? hop.refusal : written.refusal)));
  });
}

/** What was asked for, as far as it was read: its query may hold anything. */
function whatOf({ method, url }: FastifyRequest): string {
  return `(unread) ${method} ${url.split("?", 1)[0]?.slice(0, 256)}`;
}

/** @source RFC 9112 §3.2: a Host that is missing or there twice is for two servers to read in two ways */
export function faultOfHead({ httpVersion, rawHeaders }: IncomingMessage): string | undefined {
  if (httpVersion === "0.9") return "expected HTTP/1.1";
  let hosts = 0;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    if (rawHeaders[at]?.length === 4 && rawHeaders[at]?.toLowerCase() === "host") hosts += 1;
  }
  const isEnough = hosts === 1 || (hosts === 0 && httpVersion === "1.0");
  return isEnough ? undefined : `expected one Host header, found ${hosts}`;
}

function setArrival(request: FastifyRequest, reply: FastifyReply, arrival: Arrival): Arrival {
  request.facts = arrival.facts;
  if (arrival.hop.ok) request.hop = arrival.hop.value;
  reply.header("x-request-id", arrival.facts.requestId).header("x-content-type-options", "nosniff");
  return arrival;
}

/** Requests whose body comes once they are told "100 Continue". */
const awaitingBody = new WeakSet<IncomingMessage>();

/** Asks for a body only when it is read, and does not read on for long what nobody wants. */
function addBodies(app: FastifyInstance): void {
  app.decorate("takeBody", (request, response) => {
    if (awaitingBody.delete(request)) response.writeContinue();
  });
  app.addHook("preParsing", (request, reply, payload, done) => {
    const isTooLarge = Number(request.headers["content-length"] ?? 0) > request.routeOptions.bodyLimit;
    if (!isTooLarge) app.takeBody(request.raw, reply.raw);
    done(null, payload);
  });
  app.addHook("onSend", (request, reply, _payload, done) => {
    // A body that was not asked for may come all the same, or not: nobody could say where the next request begins.
    if (awaitingBody.has(request.raw)) reply.header("connection", "close");
    if (!request.raw.complete) closeGently(request.raw);
    done();
  });
  app.addHook("onResponse", ({ raw }, _reply, done) => {
    // Node reads on and lets go of it, for as long as the caller likes to send.
    if (!raw.complete) setTimeout(() => raw.complete || raw.socket.destroy(), LINGER_MS).unref();
    done();
  });
}

/**
 * Has a connection whose body was not read to its end close, if it is to close, once the caller has had time to read the
 * answer: closed at once, what still comes would reset it, and take the answer with it.
 */
function closeGently(request: IncomingMessage): void {
  const { socket } = request;
  socket.destroySoon = () => {
    closing.add(socket);
    socket.end();
    request.resume();
    setTimeout(() => socket.destroy(), LINGER_MS).unref();
  };
}

/** Connections that were told that they close: what comes after that is served by nobody. */
const closing = new WeakSet<Socket>();

function addCors(app: FastifyInstance, { origins }: EndpointServerOptions): void {
  app.addHook("onRequest", (request, reply, done) => {
    reply.headers(corsHeadersOf(request.headers.origin, origins));
    done();
  });
  app.options("*", (request, reply) => {
    const headers = preflightHeadersOf(request.headers, origins);
    if (headers) return reply.code(204).headers(headers).send();
    throw new RefusalError({ reason: "cross_site", origin: request.headers.origin ?? null, fetchSite: null });
  });
}

/** Carries a Refusal to the error handler, so that an endpoint answers it by throwing or by returning alike. */
export class RefusalError extends Error {
  override readonly name = "RefusalError";
  readonly refusal: Refusal;

  constructor(refusal: Refusal) {
    super(refusal.reason);
    this.refusal = refusal;
  }
}

function addProblems(app: FastifyInstance, options: EndpointServerOptions): void {
  app.setErrorHandler((error, request, reply) => answerProblem(error, request, reply, options));
  app.setNotFoundHandler((request) => {
    throw new RefusalError({ reason: "not_found", path: request.url.slice(0, 256) });
  });
}

function answerProblem(
  error: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
  { publicUrl, onFault }: EndpointServerOptions,
): FastifyReply {
  const { requestId } = request.facts;
  const refusal = refusalOf(error, request);
  if (!refusal) onFault(error, requestId);
  const problem = problemOf(refusal ?? { reason: "internal_error" }, { publicUrl, requestId });
  return reply.code(problem.status).headers(problem.headers).send(problem.body);
}

/** @returns why a request was refused that an error ended; undefined for a fault of ours */
export function refusalOf(error: unknown, request: FastifyRequest): Refusal | undefined {
  if (error instanceof RefusalError) return error.refusal;
  const { code, statusCode } = error as { code?: string; statusCode?: number };
  if (code === "FST_ERR_CTP_BODY_TOO_LARGE") {
    const bytesMax = request.routeOptions.bodyLimit;
    return {
      reason: "payload_too_large",
      bytes: Number(request.headers["content-length"] ?? bytesMax + 1),
      bytesMax,
    };
  }
  if (statusCode !== undefined && statusCode < 500) {
    return { reason: "request_invalid", what: "request", why: code ?? "malformed" };
  }
  return undefined;
}

/**
 * Bytes that are not HTTP: conflicting lengths, bare line feeds, an over-long head, a head that does not come.
 * There is no request to attach facts to, and the connection cannot be trusted to be in step: it closes.
 */
function answerUnparsable(socket: Socket, clock: Clock): void {
  if (!socket.writable || isAnswerOwed(socket)) {
    socket.destroy();
    return;
  }
  const body = JSON.stringify({
    type: "about:blank",
    title: "Bad Request",
    status: 400,
    code: "invalid_request",
  });
  const head = [
    "HTTP/1.1 400 Bad Request",
    `X-Request-Id: ${uuidv7(clock() * 1000)}`,
    "Content-Type: application/problem+json",
    `Content-Length: ${body.length}`,
    "Connection: close",
  ];
  socket.end(`${head.join("\r\n")}\r\n\r\n${body}`);
  // Closed at once, bytes not yet read would reset the connection and take the answer with them.
  setTimeout(() => socket.destroy(), LINGER_MS).unref();
}

/**
 * Whether what we write now would stand in the answer to an earlier request, or be taken for it: a proxy that
 * shares connections would hand it to another user. A request whose own body does not come is answered itself.
 */
function isAnswerOwed(socket: Socket): boolean {
  const response = latestResponse.get(socket);
  if (!response || response.writableFinished) return false;
  return response.req.complete || response.headersSent || response.socket !== socket;
}

/** Without this, close() waits for keep-alive connections that no longer carry anything. */
function addDrain(app: FastifyInstance): void {
  let draining = false;
  app.addHook("preClose", (done) => {
    draining = true;
    done();
  });
  app.addHook("onSend", (_request, reply, _payload, done) => {
    if (draining) reply.header("connection", "close");
    done();
  });
}

/** For an endpoint: the value, or the answer that refuses. */
export function orRefuse<T>(outcome: { ok: true; value: T } | ReturnType<typeof refused>): T {
  if (outcome.ok) return outcome.value;
  throw new RefusalError(outcome.refusal);
}
