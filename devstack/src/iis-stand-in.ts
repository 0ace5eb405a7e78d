/**
 * A stand-in for IIS, so that tests can go through what ASP.NET Core Module V2, or Application Request Routing with URL
 * Rewrite, does to requests and answers.
 *
 * It is a simulation, and no part of it has been compared with a Windows server. It was written from:
 *  - ASP.NET Core Module V2: its public source (dotnet/aspnetcore, src/Servers/IIS/AspNetCoreModuleV2): headers,
 *    environment, start, shutdown, flushing, sub-statuses 502.3 and 502.5. This is the part to rely on.
 *  - request filtering, the order of the pipeline, the log's format: Microsoft's documentation and public log files.
 *  - ARR: documentation of its proxy page, and reports; its source is not public.
 *
 * Do not trust it on: whether authentication goes by the path that a rule has set; when exactly ARR lets a buffered
 * answer go; whether ARR takes away a client's own X-ARR-*; which Win32 status stands in the log for a failure; what
 * HTTP.sys rejects before IIS; NTLM's several round trips (a pretended ticket stands in their place); TLS and client
 * certificates; compression; caching. `.github/workflows/windows-iis.yml` asks a real one.
 */
import { once } from "node:events";
import { Agent, createServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { join } from "node:path";
import { accountOf, type WindowsAccount } from "./iis/accounts.ts";
import { type AncmProcess, startAncmProcess } from "./iis/ancm-process.ts";
import { escapePath, filter, type Rejected } from "./iis/filtering.ts";
import { type Client, forwardAsAncm, forwardAsArr, rewriteAsArr } from "./iis/forward.ts";
import { Headers } from "./iis/headers.ts";
import { setIdentity, stripIdentity } from "./iis/identity-module.ts";
import type { AncmBackend, IisSite, IisSiteOptions } from "./iis/site.ts";
import { openW3cLog } from "./iis/w3c-log.ts";

export interface IisStandInOptions extends IisSiteOptions {
  /** As if TLS ended here. Default false. */
  readonly pretendTls?: boolean;
  /** The client certificate that every visitor shows: base64 of DER. */
  readonly certificate?: string;
}

const REQUEST_TIMEOUT_MS = 120_000;
/** ERROR_WINHTTP_TIMEOUT, ERROR_WINHTTP_CANNOT_CONNECT, ERROR_WINHTTP_CONNECTION_ERROR */
const WIN32 = { timeout: 12_002, cannotConnect: 12_029, connectionLost: 12_030 };

/** One request on its way through the pipeline. */
interface Passage {
  readonly at: Date;
  readonly started: number;
  readonly request: IncomingMessage;
  readonly client: Client;
  readonly headers: Headers;
  /** Decoded. */
  path: string;
  /** What is asked of the handler, when a rule has put it in the place of the path and query. */
  readonly rewritten: string | undefined;
  query: string;
  account: WindowsAccount | undefined;
}

export async function startIisStandIn(options: IisStandInOptions): Promise<IisSite> {
  const site = new Site(options);
  await site.start();
  return site;
}

class Site implements IisSite {
  readonly #options: IisStandInOptions;
  readonly #server = createServer();
  readonly #sockets = new Set<Socket>();
  /** Connections to what is behind are kept and shared by all visitors, as WinHTTP does. */
  readonly #agent = new Agent({ keepAlive: true });
  readonly #log;
  #windowsAuthentication: boolean;
  #process: Promise<AncmProcess | undefined> | undefined;
  #running: AncmProcess | undefined;
  port = 0;

  constructor(options: IisStandInOptions) {
    this.#options = options;
    this.#windowsAuthentication = options.windowsAuthentication ?? false;
    this.#log = openW3cLog(options.logFolder, new Date());
    // HTTP.sys has bounds of its own; the site's are looked at by request filtering.
    this.#server.on("request", (request, response) => void this.#answer(request, response));
    this.#server.on(
      "upgrade",
      (request, socket, head) => void this.#upgrade(request, socket as Socket, head),
    );
    this.#server.on("connection", (socket) => {
      this.#sockets.add(socket);
      socket.once("close", () => this.#sockets.delete(socket));
    });
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  get logFile(): string {
    return this.#log.file;
  }

  /** Each line is written at once. */
  readonly flushLog = (): void => {};

  readonly process = (): AncmProcess | undefined => this.#running;

  readonly setWindowsAuthentication = (isOn: boolean): void => {
    this.#windowsAuthentication = isOn;
  };

  async start(): Promise<void> {
    this.#server.listen(this.#options.port ?? 0, "127.0.0.1");
    await once(this.#server, "listening");
    this.port = (this.#server.address() as AddressInfo).port;
  }

  readonly recycle = async (): Promise<boolean> => {
    const process = await this.#process;
    this.#process = undefined;
    this.#running = undefined;
    return (await process?.shutDown()) ?? true;
  };

  readonly stop = async (): Promise<void> => {
    await this.recycle();
    const closed = this.#server.listening ? once(this.#server, "close") : undefined;
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    this.#agent.destroy();
    await closed;
  };

  /** Everything up to the handler: filtering, our module, authentication, URL Rewrite. */
  #enter(request: IncomingMessage): Passage | { readonly rejected: Rejected; readonly passage: Passage } {
    const { socket, url = "/", method = "GET" } = request;
    const { identityModule, certificate, backend, preflightPath, pretendTls = false } = this.#options;
    const client: Client = {
      address: socket.remoteAddress ?? "127.0.0.1",
      port: socket.remotePort ?? 0,
      isTls: pretendTls,
      ...(certificate !== undefined && { certificate }),
    };
    const [path = "", ...query] = url.split("?");
    const passage: Passage = {
      at: new Date(),
      started: performance.now(),
      request,
      client,
      headers: new Headers(request.rawHeaders),
      path,
      query: query.join("?"),
      rewritten: isPreflight(request) ? preflightPath : undefined,
      account: undefined,
    };
    const contentLength = Number(request.headers["content-length"] ?? 0);
    const filtered = filter(url, { contentLength, managed: identityModule !== undefined });
    if (!filtered.ok) return { rejected: filtered, passage };
    passage.path = filtered.path;
    if (backend.kind === "arr") {
      const { proof, removesExtensions = true } = backend;
      rewriteAsArr(
        passage.headers,
        client,
        { removesExtensions, ...(proof !== undefined && { proof }) },
        url,
      );
    }
    if (identityModule) stripIdentity(passage.headers);
    const rejected = this.#authenticate(passage);
    if (rejected) return { rejected, passage };
    if (identityModule) {
      const { account } = passage;
      setIdentity(passage.headers, identityModule, { method, account, shown: certificate, now: Date.now() });
    }
    return passage;
  }

  /** By the path that a rule has set, if one has; no `<location>` knows methods. */
  #authenticate(passage: Passage): Rejected | undefined {
    const { anonymousPaths = [] } = this.#options;
    if (!this.#windowsAuthentication) return undefined;
    const asked = passage.rewritten ?? passage.path;
    if (anonymousPaths.some((path) => asked === path || asked.startsWith(`${path}/`))) return undefined;
    const authorization = passage.headers.get("Authorization");
    if (authorization === undefined) return { status: 401, substatus: 2 };
    passage.account = accountOf(authorization);
    return passage.account ? undefined : { status: 401, substatus: 1 };
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const entered = this.#enter(request);
    if ("rejected" in entered) {
      request.resume();
      return this.#reject(entered.passage, response, entered.rejected);
    }
    const target = await this.#handler(entered, false);
    if (!target) return this.#reject(entered, response, { status: 502, substatus: 5 });
    this.#forward(entered, response, target);
  }

  /** The handler that the request is mapped to does its own to the headers. @returns undefined: there is no process */
  async #handler(
    passage: Passage,
    isWebSocket: boolean,
  ): Promise<{ readonly port: number; readonly timeoutMs: number } | undefined> {
    const { backend } = this.#options;
    const timeoutMs = backend.requestTimeoutMs ?? REQUEST_TIMEOUT_MS;
    if (backend.kind === "arr") {
      const logId = forwardAsArr(passage.headers, passage.client, backend.forwardedForHeader);
      // So it stands in logs of sites behind ARR.
      passage.query = [passage.query, `X-ARR-LOG-ID=${logId}`].filter(Boolean).join("&");
      if (!isWebSocket) passage.headers.delete("Connection");
      return { port: backend.port, timeoutMs };
    }
    const process = await this.#processOf(backend);
    if (!process) return undefined;
    forwardAsAncm(passage.headers, passage.client, {
      token: process.token,
      isWebSocket,
      forwardWindowsAuthToken: (backend.forwardWindowsAuthToken ?? false) && passage.account !== undefined,
    });
    return { port: process.port, timeoutMs };
  }

  /** The first request starts it, and so does the next one after it ended. */
  #processOf(backend: AncmBackend): Promise<AncmProcess | undefined> {
    const {
      kind: _,
      applicationPath = "/",
      forwardWindowsAuthToken: _1,
      requestTimeoutMs: _2,
      ...options
    } = backend;
    const logFile = join(this.#options.logFolder, "ancm-process.log");
    if (this.#process) return this.#process;
    const starting = startAncmProcess({ ...options, applicationPath, logFile }).then((process) => {
      this.#running = process;
      if (!process) this.#process = undefined;
      void process?.exited.then(() => {
        if (this.#running !== process) return;
        this.#running = undefined;
        this.#process = undefined;
      });
      return process;
    });
    this.#process = starting;
    return starting;
  }

  #forward(
    passage: Passage,
    response: ServerResponse,
    { port, timeoutMs }: { readonly port: number; readonly timeoutMs: number },
  ): void {
    const { request: incoming } = passage;
    const sending = request({
      host: "127.0.0.1",
      port,
      method: incoming.method,
      path: targetOf(passage),
      headers: passage.headers.raw(),
      setDefaultHeaders: false,
      agent: this.#agent,
      timeout: timeoutMs,
    });
    let failure: number | undefined;
    sending.once("timeout", () => {
      failure = WIN32.timeout;
      sending.destroy();
    });
    sending.on("error", (error: NodeJS.ErrnoException) => {
      failure ??= error.code === "ECONNREFUSED" ? WIN32.cannotConnect : WIN32.connectionLost;
      if (response.headersSent) response.destroy();
      else this.#reject(passage, response, { status: 502, substatus: 3 }, failure);
    });
    sending.once("response", (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.statusMessage, withoutHopByHop(answer.rawHeaders));
      const requestId = answer.headers["x-request-id"];
      const finish = (): void =>
        this.#write(passage, { status: answer.statusCode ?? 502, substatus: 0 }, failure ?? 0, requestId);
      response.once("close", finish);
      this.#pass(answer, response);
    });
    // A visitor who leaves takes the request behind with them.
    response.once("close", () => sending.destroy());
    incoming.pipe(sending);
  }

  /** ASP.NET Core Module V2 flushes what each read brings. ARR holds an answer back until it has enough, or all of it. */
  #pass(answer: IncomingMessage, response: ServerResponse): void {
    const { backend } = this.#options;
    const held: Buffer[] = [];
    let hold = backend.kind === "arr" ? (backend.minResponseBuffer ?? 0) : 0;
    if (hold === 0) response.flushHeaders();
    answer.on("data", (chunk: Buffer) => {
      held.push(chunk);
      if (held.reduce((sum, { length }) => sum + length, 0) < hold) return;
      hold = 0;
      for (const each of held.splice(0)) response.write(each);
    });
    answer.once("end", () => response.end(Buffer.concat(held)));
    answer.once("error", () => response.destroy());
  }

  async #upgrade(incoming: IncomingMessage, socket: Socket, head: Buffer): Promise<void> {
    const entered = this.#enter(incoming);
    const passage = "rejected" in entered ? entered.passage : entered;
    const target = "rejected" in entered ? undefined : await this.#handler(passage, true);
    if (!target) {
      const rejected = "rejected" in entered ? entered.rejected : { status: 502, substatus: 5 };
      socket.end(
        `HTTP/1.1 ${rejected.status} ${rejected.status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`,
      );
      return this.#write(passage, rejected, 0, undefined);
    }
    const sending = request({
      host: "127.0.0.1",
      port: target.port,
      method: incoming.method,
      path: targetOf(passage),
      headers: passage.headers.raw(),
      setDefaultHeaders: false,
      agent: false,
    });
    sending.once("error", () => {
      socket.end("HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
      this.#write(passage, { status: 502, substatus: 3 }, WIN32.cannotConnect, undefined);
    });
    sending.once("response", (answer) => {
      // No upgrade: an answer like any other.
      socket.write(
        `HTTP/1.1 ${answer.statusCode} ${answer.statusMessage}\r\n${linesOf(answer.rawHeaders)}\r\n`,
      );
      answer.pipe(socket);
      this.#write(
        passage,
        { status: answer.statusCode ?? 502, substatus: 0 },
        0,
        answer.headers["x-request-id"],
      );
    });
    sending.once("upgrade", (answer, behind, rest) => {
      socket.write(`HTTP/1.1 101 Switching Protocols\r\n${linesOf(answer.rawHeaders)}\r\n`);
      const requestId = answer.headers["x-request-id"];
      socket.once("close", () => this.#write(passage, { status: 101, substatus: 0 }, 0, requestId));
      // WinHTTP knows no extension: what it cannot read ends the connection.
      if (answer.headers["sec-websocket-extensions"] !== undefined)
        return void socket.end().once("close", () => behind.destroy());
      socket.write(rest);
      behind.write(head);
      socket.pipe(behind).on("error", () => socket.destroy());
      behind.pipe(socket).on("error", () => behind.destroy());
      socket.once("close", () => behind.destroy());
      behind.once("close", () => socket.destroy());
    });
    sending.end();
  }

  /** A page of IIS's own: the gateway has not answered, so that the log shows no request id. */
  #reject(passage: Passage, response: ServerResponse, rejected: Rejected, win32Status = 0): void {
    const { status, substatus } = rejected;
    const body = `<!DOCTYPE html><title>${status}.${substatus}</title><h1>HTTP Error ${status}.${substatus}</h1>\n`;
    response.writeHead(status, {
      "content-type": "text/html",
      "content-length": body.length,
      ...(status === 401 && { "www-authenticate": ["Negotiate", "NTLM"] }),
    });
    response.once("close", () => this.#write(passage, rejected, win32Status, undefined));
    response.end(body);
  }

  #write(
    passage: Passage,
    { status, substatus }: Rejected,
    win32Status: number,
    requestId: string | string[] | undefined,
  ): void {
    const { request: incoming, headers } = passage;
    const userAgent = headers.get("User-Agent");
    const referer = headers.get("Referer");
    this.#log.write({
      at: passage.at,
      serverAddress: "127.0.0.1",
      serverPort: this.port,
      method: incoming.method ?? "-",
      path: passage.path,
      query: passage.query,
      clientAddress: passage.client.address,
      status,
      substatus,
      win32Status,
      milliseconds: Math.round(performance.now() - passage.started),
      ...(passage.account && { username: passage.account.name }),
      ...(userAgent !== undefined && { userAgent }),
      ...(referer !== undefined && { referer }),
      ...(typeof requestId === "string" && { requestId }),
    });
  }
}

/** What the generator's rule takes for one. */
function isPreflight({ method, headers }: IncomingMessage): boolean {
  return method === "OPTIONS" && Boolean(headers["access-control-request-method"]);
}

function targetOf({ request: { url = "/" }, path, rewritten }: Passage): string {
  if (rewritten !== undefined) return rewritten;
  const query = url.indexOf("?");
  return escapePath(path) + (query < 0 ? "" : url.slice(query));
}

function withoutHopByHop(raw: readonly string[]): string[] {
  const headers = new Headers(raw);
  for (const name of ["Connection", "Keep-Alive", "Transfer-Encoding"]) headers.delete(name);
  return headers.raw();
}

function linesOf(raw: readonly string[]): string {
  let text = "";
  for (let at = 0; at + 1 < raw.length; at += 2) text += `${raw[at]}: ${raw[at + 1]}\r\n`;
  return text;
}
