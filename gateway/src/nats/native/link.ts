import type { Socket } from "node:net";
import type { EpochSeconds } from "../../time.ts";
import type { Dialled } from "./dial.ts";
import type { InboxMap } from "./inbox-map.ts";
import { parseInfo, type ServerInfo } from "./info.ts";
import { type MessageHead, ServerParser, type Way } from "./server-parser.ts";

/** What a link hears, each time with itself: over a handover there are two of them. */
export interface LinkHandler {
  message(link: NativeLink, head: MessageHead): Way | Buffer;
  whole(link: NativeLink, head: MessageHead, bytes: Buffer): void;
  out(link: NativeLink, bytes: Buffer): void;
  /** All of a chunk has been read; `inMessage` says whether what passed stops inside a message. */
  flush(link: NativeLink, inMessage: boolean): void;
  /** PING, which is to be answered through `pong`. */
  ping(link: NativeLink): void;
  info(link: NativeLink, info: ServerInfo): void;
  /** The text of a -ERR, without its quotes. */
  error(link: NativeLink, text: string): void;
  /** Writing may go on. */
  drained(link: NativeLink): void;
  /** It is dead, whatever killed it. Once. */
  closed(link: NativeLink): void;
}

/** Written and not yet taken by the kernel, at most; beyond, whoever writes must wait. */
const UNWRITTEN_BYTES_MAX = 1024 * 1024;
/** PINGs that wait for their PONG, at most; beyond, whoever asks must wait: nats-server answers in a millisecond. */
const PINGS_MAX = 1_024;
/** Longest wait for a PONG before the connection counts as dead. */
const PONG_TIMEOUT_MS = 10_000;

/** One connection to one server under one credential, in the bare protocol. It dies once and is never repaired. */
export class NativeLink {
  readonly server: string;
  readonly serverId: string;
  readonly expiresAt: EpochSeconds;
  readonly inbox: InboxMap;
  info: ServerInfo;
  readonly #socket: Socket;
  #handler: LinkHandler | undefined;
  readonly #rest: Buffer;
  readonly #pings: ((pong: boolean) => void)[] = [];
  #alive = true;

  constructor(dialled: Dialled, expiresAt: EpochSeconds, inbox: InboxMap) {
    this.server = dialled.server;
    this.serverId = dialled.info.serverId;
    this.info = dialled.info;
    this.expiresAt = expiresAt;
    this.inbox = inbox;
    this.#socket = dialled.socket;
    this.#rest = dialled.rest;
    this.#socket.on("error", () => this.destroy());
    this.#socket.on("close", () => this.#die());
  }

  /** Begins to read. What came before waits in the socket. */
  start(handler: LinkHandler): void {
    this.#handler = handler;
    if (!this.#alive) {
      handler.closed(this);
      return;
    }
    const parser = new ServerParser({
      message: (head) => handler.message(this, head),
      whole: (head, bytes) => handler.whole(this, head, bytes),
      out: (bytes) => handler.out(this, bytes),
      line: (text) => this.#takeLine(text, handler),
      fault: () => this.destroy(),
    });
    const feed = (chunk: Buffer): void => {
      parser.feed(chunk);
      handler.flush(this, parser.inMessage);
    };
    if (this.#rest.length > 0) feed(this.#rest);
    this.#socket.on("data", feed);
    this.#socket.on("drain", () => handler.drained(this));
    this.#socket.resume();
  }

  get alive(): boolean {
    return this.#alive;
  }

  get congested(): boolean {
    return this.#socket.writableLength > UNWRITTEN_BYTES_MAX || this.#pings.length >= PINGS_MAX;
  }

  write(bytes: Uint8Array | string): void {
    if (this.#alive) this.#socket.write(bytes);
  }

  /** Waits until nats-server has processed everything written before; false when the connection died first. */
  ping(): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    this.pingThen(resolve);
    return promise;
  }

  /** As `ping`; `then` is called in its place between what comes before and after the PONG. */
  pingThen(then: (pong: boolean) => void): void {
    if (!this.#alive) {
      then(false);
      return;
    }
    const timer = setTimeout(() => this.destroy(), PONG_TIMEOUT_MS).unref();
    this.#pings.push((pong) => {
      clearTimeout(timer);
      then(pong);
    });
    this.write("PING\r\n");
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  /** Lets go of it once what was written has left. */
  close(): void {
    this.#socket.end();
    this.#socket.resume();
    setTimeout(() => this.destroy(), PONG_TIMEOUT_MS).unref();
  }

  destroy(): void {
    this.#socket.destroy();
    this.#die();
  }

  #takeLine(text: string, handler: LinkHandler): void {
    if (text === "PONG") this.#takePong(handler);
    else if (text === "PING") handler.ping(this);
    else if (text.startsWith("INFO ")) {
      const info = parseInfo(text.slice(5));
      if (!info) return;
      this.info = info;
      handler.info(this, info);
    } else if (text.startsWith("-ERR")) {
      handler.error(
        this,
        text
          .slice(4)
          .trim()
          .replace(/^'(.*)'$/s, "$1"),
      );
    }
  }

  #takePong(handler: LinkHandler): void {
    const wasFull = this.#pings.length >= PINGS_MAX;
    this.#pings.shift()?.(true);
    if (wasFull && !this.congested) handler.drained(this);
  }

  #die(): void {
    if (!this.#alive) return;
    this.#alive = false;
    for (const pong of this.#pings.splice(0)) pong(false);
    this.#handler?.closed(this);
  }
}
