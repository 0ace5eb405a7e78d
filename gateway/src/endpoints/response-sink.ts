import type { ServerResponse } from "node:http";
import type { FastifyReply } from "fastify";
import type { EndCode, Positions, StreamEvent, StreamSink } from "../subscribe.ts";
import { beginText, endText, eventText, positionText } from "./sse.ts";

/** Bytes a reader may leave unread in this process. */
const UNREAD_BYTES_MAX = 1_048_576;

/** How long a reader of what is stored is waited for, if it takes nothing at all. */
const STALLED_MS = 60_000;

/** How long a reader may take over what was left when its stream ended. */
const LAST_EVENT_MS = 5_000;

/** Below the two minutes after which IIS and most load balancers cut a silent response. */
const HEARTBEAT_MS = 15_000;

const SSE_HEADERS = {
  "content-type": "text/event-stream",
  // `no-transform` and `identity` keep IIS and proxies from compressing, which would hold events back.
  "cache-control": "no-cache, no-transform",
  "content-encoding": "identity",
  "x-accel-buffering": "no",
};

/** Writes events to one response, and bounds what a slow reader may leave unread. */
export class ResponseSink implements StreamSink {
  readonly #reply: FastifyReply;
  readonly #response: ServerResponse;
  #hasBegun = false;
  /** What is written at the end of this turn, or when the head has been sent: one write for all of it. */
  #unwritten = "";
  #ended = false;
  #heartbeat: NodeJS.Timeout | undefined;
  readonly #begun = Promise.withResolvers<void>();
  readonly #idOf: (positions: Positions) => string;
  #hasPosition = false;

  /** @param idOf  writes the id of an event of what is stored */
  constructor(reply: FastifyReply, idOf: (positions: Positions) => string) {
    this.#reply = reply;
    this.#response = reply.raw;
    this.#idOf = idOf;
  }

  /** Takes the response over from the framework and sends the head at once, so that the reader knows it is open. */
  begin(stop: () => void): void {
    this.#reply.hijack();
    this.#response.on("close", stop);
    // A reader that left while NATS was answering has closed already, and will not say so again.
    if (this.#response.destroyed) stop();
    this.#response.writeHead(200, {
      ...(this.#reply.getHeaders() as Record<string, string>),
      ...SSE_HEADERS,
    });
    this.#unwritten = `: open\n\n${this.#unwritten}`;
    this.#hasBegun = true;
    this.#flush();
    this.#begun.resolve();
    if (this.#ended) this.#finish();
    else this.#heartbeat = setInterval(() => this.#response.write(": \n\n"), HEARTBEAT_MS).unref();
  }

  deliver(event: StreamEvent): boolean {
    this.#write(eventText(event, event.positions && this.#idOf(event.positions)));
    return this.#unwritten.length + this.#response.writableLength <= UNREAD_BYTES_MAX;
  }

  async drained(): Promise<boolean> {
    await this.#begun.promise;
    this.#flush();
    const response = this.#response;
    if (!response.writable) return false;
    if (!response.writableNeedDrain) return true;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const timer = setTimeout(() => resolve(false), STALLED_MS).unref();
    const onDrain = (): void => resolve(true);
    const onClose = (): void => resolve(false);
    response.once("drain", onDrain).once("close", onClose);
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      response.off("drain", onDrain).off("close", onClose);
    }
  }

  reached(positions: Positions): void {
    const id = this.#idOf(positions);
    this.#write(this.#hasPosition ? positionText(id) : beginText(id));
    this.#hasPosition = true;
  }

  end(code: EndCode): void {
    this.#ended = true;
    clearInterval(this.#heartbeat);
    this.#write(endText(code));
    if (this.#hasBegun) this.#finish();
  }

  /** A reader that does not take the end either is cut off: what it left unread counts for no stream any more. */
  #finish(): void {
    this.#flush();
    this.#response.end();
    setTimeout(() => this.#response.destroy(), LAST_EVENT_MS).unref();
  }

  /** What one turn of the event loop brings leaves in one write, once the sockets that are ready have been read. */
  #write(text: string): void {
    if (this.#unwritten === "" && this.#hasBegun) setImmediate(() => this.#flush());
    this.#unwritten += text;
  }

  #flush(): void {
    const text = this.#unwritten;
    this.#unwritten = "";
    if (text !== "" && this.#response.writable) this.#response.write(text);
  }
}
