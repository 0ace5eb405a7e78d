import type { ServerResponse } from "node:http";
import type { Readable } from "node:stream";
import { uuidv7 } from "@countersign/seal";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { Presented } from "../identity/identity.ts";
import { allowed, type Outcome, refused } from "../refusal.ts";
import type { Clock } from "../time.ts";
import { parseBatchLine } from "./batch-line.ts";
import { type Line, LineReader } from "./lines.ts";
import { makeMessage } from "./message.ts";
import type { EndpointParts } from "./parts.ts";
import type { Send, Sending } from "./send.ts";
import { orRefuse } from "./server.ts";
import { parseSubject } from "./subject.ts";

/** Lines under way at once: as many as one signature seals. */
const UNDER_WAY_MAX = 256;
/** Bytes of lines under way at once; one line may be larger. */
const UNDER_WAY_BYTES_MAX = 4 * 1024 * 1024;
/** Outcomes that the caller has not read, beyond which no line is read: bytes in this process. */
const UNREAD_BYTES_MAX = 1024 * 1024;
/** Lines of one batch. What is sent longer than this is a stream without an end. */
const LINES_MAX = 100_000;
/** Of the time that node:http leaves a request: it would cut the connection, without a word. */
const LASTS_AT_MOST = 0.9;
/** How long a caller who was told that it is over may go on sending. */
const LINGER_MS = 1_000;

/** What all lines of a batch share. */
export interface BatchShared {
  readonly stream?: string;
  /** Of each line. */
  readonly timeoutMs: number;
}

export interface BatchAsk {
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
  readonly body: Readable;
  readonly shared: Outcome<BatchShared>;
}

/**
 * Answers a batch: each line is a message of its own, decided upon, recorded and sent by itself, and answered by a line,
 * in order. Reading stops while too much is under way or unread, whatever the caller does.
 */
export async function answerBatch(
  { admit, presentedOf, clock }: EndpointParts,
  send: Send,
  { request, reply, body, shared }: BatchAsk,
): Promise<FastifyReply> {
  const presented = presentedOf(request);
  // Who is nobody is told so once, and not a hundred thousand times in the record.
  const action = shared.ok ? { question: "publish a batch" } : shared;
  orRefuse(await admit({ presented, action, facts: request.facts }));
  const batch = new Batch({ request, reply, presented, send, clock, shared: orRefuse(shared) }, body);
  await batch.run();
  return reply;
}

interface BatchParts {
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
  readonly presented: Outcome<Presented>;
  readonly send: Send;
  readonly clock: Clock;
  readonly shared: BatchShared;
}

/** Why no more lines are read. */
type End = "read" | "gone" | "late" | "many";

/** One batch: reads lines while there is room, has them sent, and writes what came of them in their order. */
class Batch {
  readonly #parts: BatchParts;
  readonly #response: ServerResponse;
  readonly #body: Readable;
  readonly #lineBytesMax: number;
  readonly #lastsMs: number;
  readonly #reader: LineReader;
  readonly #ended = Promise.withResolvers<void>();
  #end: End | undefined;
  /** What the bytes that came last still have. */
  #lines: Iterator<Line> | undefined;
  #isWhole = false;
  #count = 0;
  #underWay = 0;
  #bytesUnderWay = 0;
  /** Fulfils when all outcomes so far have been written. */
  #written: Promise<void> = Promise.resolve();

  constructor(parts: BatchParts, body: Readable) {
    const { request, reply } = parts;
    this.#parts = parts;
    this.#body = body;
    this.#response = reply.raw;
    this.#lineBytesMax = request.routeOptions.bodyLimit;
    this.#lastsMs = request.server.server.requestTimeout * LASTS_AT_MOST;
    this.#reader = new LineReader(this.#lineBytesMax);
  }

  async run(): Promise<void> {
    this.#begin();
    const late = setTimeout(() => this.#finish("late"), this.#lastsMs);
    this.#body
      .on("data", (bytes: Uint8Array) => this.#receive(this.#reader.push(bytes)))
      .once("end", () => {
        clearTimeout(late);
        this.#isWhole = true;
        // It may come while lines of the last bytes wait for room.
        if (!this.#lines) this.#receive(this.#reader.end());
      })
      .once("error", () => this.#finish("gone"));
    this.#response.on("error", () => this.#finish("gone")).once("close", () => this.#finish("gone"));
    await this.#ended.promise;
    clearTimeout(late);
    await this.#close();
  }

  #begin(): void {
    const { reply, request } = this.#parts;
    reply.hijack();
    request.server.takeBody(request.raw, reply.raw);
    this.#response.writeHead(200, {
      ...(reply.getHeaders() as Record<string, string>),
      "content-type": "application/x-ndjson",
      // Kept from being compressed or gathered on the way: the caller may wait for an outcome before the next line.
      "cache-control": "no-store, no-transform",
      "x-accel-buffering": "no",
    });
    this.#response.flushHeaders();
  }

  #receive(lines: Iterator<Line>): void {
    this.#lines = lines;
    this.#advance();
  }

  /** Takes lines while there is room; the body waits meanwhile, and with it the caller. */
  #advance(): void {
    while (this.#end === undefined && this.#lines) {
      if (!this.#hasRoom) {
        this.#body.pause();
        return;
      }
      const next = this.#lines.next();
      if (!next.done) this.#take(next.value);
      else this.#lines = this.#nextLines();
    }
  }

  /** What comes after the lines that were there; undefined until more bytes have come. */
  #nextLines(): Iterator<Line> | undefined {
    if (!this.#isWhole) {
      this.#body.resume();
      return undefined;
    }
    if (this.#reader.isEnded) this.#finish("read");
    return this.#reader.end();
  }

  get #hasRoom(): boolean {
    return this.#underWay < UNDER_WAY_MAX && this.#bytesUnderWay < UNDER_WAY_BYTES_MAX;
  }

  #take(line: Line): void {
    this.#count += 1;
    if (this.#count > LINES_MAX) this.#finish("many");
    else this.#put(this.#send(line), line?.length ?? 0);
  }

  #finish(end: End): void {
    this.#end ??= end;
    this.#ended.resolve();
  }

  /** Says why not all was read, waits for what is under way, and leaves the connection as it can be used. */
  async #close(): Promise<void> {
    if (this.#end === "late" || this.#end === "many") {
      const why =
        this.#end === "many" ? `more than ${LINES_MAX} lines` : `not whole after ${this.#lastsMs} ms`;
      const refusal = {
        reason: "request_invalid",
        what: "batch",
        why: `${why}; send the rest in another`,
      } as const;
      this.#put(Promise.resolve(refused(refusal)), 0);
    }
    // What still comes is let go, so that the caller can read what came of the rest.
    this.#body.resume();
    await this.#written;
    // Ended while it is corked, it would send what is held back after its own last chunk.
    this.#flush();
    this.#response.end();
    const { complete, socket } = this.#parts.request.raw;
    if (!complete) setTimeout(() => socket.destroy(), LINGER_MS).unref();
  }

  #send(line: Line): Promise<Outcome<object>> {
    const { request, presented, send, clock } = this.#parts;
    // A transaction of its own, so that its record, its seal and its completion are joined by it.
    const facts = { ...request.facts, txn: uuidv7(clock() * 1000) };
    // Answered as it was sent, lines would come faster than nats-server takes them.
    return send({ presented, facts, sending: this.#readSending(line, facts), until: "received" });
  }

  #readSending(line: Line, facts: FastifyRequest["facts"]): Outcome<Sending> {
    const bytesMax = this.#lineBytesMax;
    if (!line) return refused({ reason: "payload_too_large", bytes: bytesMax + 1, bytesMax });
    const parsed = parseBatchLine(line);
    if (!parsed.ok) return parsed;
    const subject = parseSubject(parsed.value.subject, { wildcards: false });
    if (!subject.ok) return subject;
    const message = makeMessage(subject.value, parsed.value, facts, this.#parts.clock);
    return sendingOf(message, parsed.value, this.#parts.shared);
  }

  /** Writes an outcome after those before it; until then its line is under way. */
  #put(outcome: Promise<Outcome<object>>, bytes: number): void {
    this.#underWay += 1;
    this.#bytesUnderWay += bytes;
    const before = this.#written;
    this.#written = (async () => {
      const done = await outcome.catch((error: unknown) => this.#fault(error));
      await before;
      await this.#write(done);
      this.#underWay -= 1;
      this.#bytesUnderWay -= bytes;
      this.#advance();
    })();
  }

  async #write(outcome: Outcome<object>): Promise<void> {
    const response = this.#response;
    if (response.destroyed) return;
    if (response.writableCorked === 0) {
      // What one turn brings leaves in one write.
      response.cork();
      setImmediate(() => this.#flush());
    }
    response.write(`${JSON.stringify(this.#lineOf(outcome))}\n`);
    if (response.writableLength <= UNREAD_BYTES_MAX) return;
    await new Promise<void>((resolve) => {
      response.once("drain", resolve).once("close", resolve);
    });
  }

  #flush(): void {
    if (this.#response.writableCorked > 0) this.#response.uncork();
  }

  #lineOf(outcome: Outcome<object>): object {
    const { request, shared } = this.#parts;
    if (outcome.ok) return { status: shared.stream === undefined ? 202 : 200, ...outcome.value };
    const { body, headers } = request.server.problemOf(outcome.refusal, request.facts.requestId);
    const retryAfter = headers["retry-after"];
    return { ...body, ...(retryAfter !== undefined && { retryAfter: Number(retryAfter) }) };
  }

  #fault(error: unknown): Outcome<never> {
    const { server, facts } = this.#parts.request;
    server.onFault(error, facts.requestId);
    return refused({ reason: "internal_error" });
  }
}

function sendingOf(
  message: Sending["message"],
  {
    key,
    preconditions,
  }: { readonly key?: string; readonly preconditions: readonly (readonly [string, string])[] },
  { stream, timeoutMs }: BatchShared,
): Outcome<Sending> {
  if (stream !== undefined) {
    const storing = { stream, timeoutMs, preconditions, keyed: key !== undefined };
    return allowed({ message, storing, ...(key !== undefined && { key }) });
  }
  const demand = key === undefined ? preconditions[0]?.[0] : "idempotencyKey";
  if (demand === undefined) return allowed({ message });
  return refused({
    reason: "header_refused",
    header: demand,
    why: "only a stream can keep it; publish with ?stream=NAME",
  });
}
