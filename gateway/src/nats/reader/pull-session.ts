import { includes } from "../../policy/pattern.ts";
import type { EpochSeconds } from "../../time.ts";
import type { HeaderList, InboundMessage } from "../connection.ts";
import { type Delivery, parseDelivery } from "./delivery.ts";
import { INACTIVE_MS, type ReaderConsumer, type ReaderOptions } from "./reader-consumer.ts";

/** A message as a stream has it. */
export interface StoredMessage extends InboundMessage {
  readonly sequence: number;
  /** How many more were waiting when it was delivered. */
  readonly pending: number;
}

/** Without the reply subject, which is the consumer's own. Its headers are read when somebody asks for them. */
class Stored implements StoredMessage {
  readonly subject: string;
  readonly payload: Uint8Array;
  readonly headerBlock?: Uint8Array;
  readonly brokerTime: EpochSeconds;
  readonly sequence: number;
  readonly pending: number;
  readonly #message: InboundMessage;

  constructor(message: InboundMessage, { brokerTime, sequence, pending }: Delivery) {
    this.subject = message.subject;
    this.payload = message.payload;
    if (message.headerBlock) this.headerBlock = message.headerBlock;
    this.brokerTime = brokerTime;
    this.sequence = sequence;
    this.pending = pending;
    this.#message = message;
  }

  get headers(): HeaderList {
    return this.#message.headers;
  }
}

/** Where it begins, and how it is delivered to. */
export interface PullStart {
  readonly consumer: ReaderConsumer;
  /** What has been read already is dropped, however it comes. */
  readonly position: number;
  /** Subscribed to already; every message of it is given to `take`. */
  readonly inbox: string;
  readonly batch: number;
  /** What has been brought and not taken, as of now. */
  readonly unread: { readonly messages: number; readonly bytes: number };
}

/** What one consumer brings. */
export interface PullHandler {
  /** In the stream's order, none left out. */
  onMessage(message: StoredMessage): void;
  /** Nothing waits: all up to this sequence has been delivered, or passes the filter by. */
  onIdle(position: number): void;
  /** No more comes: begin anew with another consumer. */
  onBroken(isOurs: boolean): void;
}

/** How often JetStream says that there is nothing to say, and how often we look whether it did. */
const HEARTBEAT_MS = 2_000;
/** After so many looks without a sign of life the consumer is gone, or its server is. */
const SILENT_LOOKS_MAX = 3;
/** After so many it may have been deleted, and its number be another reader's. */
const SILENT_LOOKS_OURS = Math.floor(INACTIVE_MS / HEARTBEAT_MS) - 2;
/** A request waits so long at the server; another one follows. */
const PULL_LIFE_MS = 30_000;
/** What nats-server counts of a message besides its payload and headers: subject and reply. */
const NAMES_BYTES_MAX = 4_096;
/** What one request may bring, but for what a single message needs: half of it at most is unread by then. */
const PULL_BYTES = 1_048_576;

/**
 * Pulls from one consumer: never more than `batch` messages, and a megabyte, that its reader has not taken. So a slow
 * reader is waited for where the messages are, in the stream.
 */
export class PullSession {
  readonly #options: ReaderOptions;
  readonly #consumer: ReaderConsumer;
  readonly #inbox: string;
  readonly #batch: number;
  readonly #unread: PullStart["unread"];
  readonly #handler: PullHandler;
  readonly #look: NodeJS.Timeout;
  #position: number;
  #consumerSequence = 0;
  /** Asked for and not come. */
  #outstanding = 0;
  #silentLooks = 0;
  /** Refused as too large since the last message: then the next one would be, too. */
  #tooLarge = false;
  #over = false;

  constructor(options: ReaderOptions, start: PullStart, handler: PullHandler) {
    this.#options = options;
    this.#consumer = start.consumer;
    this.#position = start.position;
    this.#inbox = start.inbox;
    this.#batch = start.batch;
    this.#unread = start.unread;
    this.#handler = handler;
    this.#look = setInterval(() => this.#lookForLife(), HEARTBEAT_MS).unref();
  }

  take(message: InboundMessage): void {
    if (this.#over) return;
    const { stream, filter } = this.#options;
    const delivery = parseDelivery(message.reply);
    // What is stored may begin with a status as well: whoever published it wrote that.
    if (!delivery && message.status !== undefined) {
      this.#takeStatus(message.status, message.headers);
      return;
    }
    if (delivery?.consumer !== this.#consumer.name || delivery.stream !== stream) return;
    this.#silentLooks = 0;
    if (delivery.consumerSequence <= this.#consumerSequence) return;
    // Another reader's consumer under this number, or one that lost something on the way.
    const isNext = delivery.consumerSequence === this.#consumerSequence + 1;
    if (!isNext || !includes(filter, message.subject)) {
      this.#break(false);
      return;
    }
    this.#takeNext(message, delivery);
  }

  #takeNext(message: InboundMessage, delivery: Delivery): void {
    const { sequence } = delivery;
    this.#consumerSequence = delivery.consumerSequence;
    this.#outstanding = Math.max(0, this.#outstanding - 1);
    this.#tooLarge = false;
    if (sequence > this.#position) {
      this.#position = sequence;
      this.#handler.onMessage(new Stored(message, delivery));
    }
    this.refill();
  }

  end(): void {
    this.#over = true;
    clearInterval(this.#look);
  }

  /** Whether the consumer is still this reader's, so that it may be deleted. */
  get isOurs(): boolean {
    return this.#silentLooks <= SILENT_LOOKS_OURS;
  }

  #takeStatus(status: number, headers: HeaderList): void {
    if (status === 100) {
      this.#takeHeartbeat(headers);
      return;
    }
    const left = numberIn(headers, "nats-pending-messages");
    // The request is over (nothing came in time, or the next message does not fit): what it asked for is asked again.
    if (left === undefined || (status === 409 && this.#tooLarge)) {
      this.#break(false);
      return;
    }
    this.#silentLooks = 0;
    this.#tooLarge = status === 409;
    this.#outstanding = Math.max(0, this.#outstanding - left);
    this.refill();
  }

  #takeHeartbeat(headers: HeaderList): void {
    this.#silentLooks = 0;
    const delivered = numberIn(headers, "nats-last-consumer");
    const position = numberIn(headers, "nats-last-stream");
    if (delivered === undefined || position === undefined) return;
    // Sent before a message that has come since.
    if (delivered < this.#consumerSequence) return;
    if (delivered > this.#consumerSequence) this.#break(true);
    else this.#handler.onIdle(Math.max(position, this.#position));
  }

  /** Asks for more once half of what may be unread has been taken. */
  refill(): void {
    if (this.#over) return;
    const { messages, bytes } = this.#unread;
    const missing = this.#batch - this.#outstanding - messages;
    if (missing < this.#batch / 2 || bytes > PULL_BYTES / 2) return;
    if (this.#outstanding === 0 && !this.isOurs) {
      this.#break(false);
      return;
    }
    const { connection, stream } = this.#options;
    const ask = {
      batch: missing,
      expires: PULL_LIFE_MS * 1_000_000,
      idle_heartbeat: HEARTBEAT_MS * 1_000_000,
      max_bytes: Math.max(PULL_BYTES, connection.payloadBytesMax + NAMES_BYTES_MAX),
    };
    const subject = `$JS.API.CONSUMER.MSG.NEXT.${stream}.${this.#consumer.name}`;
    const payload = Buffer.from(JSON.stringify(ask));
    const asked = connection.publish({ subject, payload, headers: [] }, this.#inbox);
    if (asked.ok) this.#outstanding += missing;
    else this.#break(true);
  }

  #lookForLife(): void {
    this.#silentLooks += 1;
    if (this.#outstanding > 0 && this.#silentLooks >= SILENT_LOOKS_MAX) this.#break(true);
  }

  #break(isOurs: boolean): void {
    if (this.#over) return;
    const mayDelete = isOurs && this.isOurs;
    this.end();
    this.#handler.onBroken(mayDelete);
  }
}

function numberIn(headers: HeaderList, name: string): number | undefined {
  const value = headers.find(([found]) => found.toLowerCase() === name)?.[1];
  return value !== undefined && /^\d{1,16}$/.test(value) ? Number(value) : undefined;
}
