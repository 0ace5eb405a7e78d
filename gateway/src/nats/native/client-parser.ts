/** What a client may say. Anything else, from a verb of servers to a line out of grammar, is a fault. */
export interface ClientHandler {
  connect(json: string): void;
  publish(publish: ClientPublish): void;
  subscribe(subject: string, queue: string | undefined, sid: string): void;
  unsubscribe(sid: string, max: number | undefined): void;
  ping(): void;
  pong(): void;
  /** Nothing is read afterwards. */
  fault(fault: ClientFault): void;
}

export interface ClientPublish {
  /** As written, bytes outside ASCII as Latin-1: nobody has judged it. */
  readonly subject: string;
  readonly reply: string | undefined;
  /** The block of an HPUB, its closing empty line included. */
  readonly headers: Buffer | undefined;
  readonly payload: Buffer;
}

/** As nats-server words its `-ERR`; it closes the connection after each of them. */
export type ClientFault =
  | "Unknown Protocol Operation"
  | "Maximum Control Line Exceeded"
  | "Maximum Payload Violation"
  | "Invalid Client Protocol";

export interface ClientParserOptions {
  /** Bytes of one control line but CONNECT: nats-server's own default. */
  readonly lineBytesMax?: number;
  /** Bytes of CONNECT, which carries a token. */
  readonly connectBytesMax: number;
}

const LINE_BYTES_MAX = 4_096;
const SID_BYTES_MAX = 32;
const NONE = Buffer.alloc(0);
const LF = 0x0a;
const CR = 0x0d;
const SPACE = 0x20;
const TAB = 0x09;

/**
 * Reads the client's half of the NATS protocol out of chunks that may be cut anywhere. It takes what nats-server
 * takes: verbs in any case, tabs, several blanks, a line that ends in a bare LF; a payload ends in CRLF. No more than
 * one control line and one message are kept, each below its bound.
 *
 * @source nats-server server/parser.go
 */
export class ClientParser {
  readonly #handler: ClientHandler;
  readonly #lineBytesMax: number;
  readonly #connectBytesMax: number;
  /** Largest message, headers included; set as soon as it is known. */
  payloadBytesMax = 0;
  /** The beginning of a control line whose end has not come. */
  #line: Buffer = NONE;
  /** The message whose control line was read. */
  #head: PublishHead | undefined;
  /** Its bytes so far, where they did not come in one chunk. */
  #body: Buffer | undefined;
  #bodyFilled = 0;
  /** What came while paused. */
  #kept: Buffer = NONE;
  #paused = false;
  #over = false;

  constructor(
    handler: ClientHandler,
    { lineBytesMax = LINE_BYTES_MAX, connectBytesMax }: ClientParserOptions,
  ) {
    this.#handler = handler;
    this.#lineBytesMax = lineBytesMax;
    this.#connectBytesMax = connectBytesMax;
  }

  /** Stops before the next command; what comes meanwhile is kept, so its source must be paused as well. */
  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    const kept = this.#kept;
    this.#kept = NONE;
    this.feed(kept);
  }

  get paused(): boolean {
    return this.#paused;
  }

  feed(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length && !this.#over) {
      if (this.#paused) {
        const rest = at === 0 ? chunk : chunk.subarray(at);
        this.#kept = this.#kept.length === 0 ? rest : Buffer.concat([this.#kept, rest]);
        return;
      }
      at = this.#head ? this.#readBody(chunk, at, this.#head) : this.#readLine(chunk, at);
    }
  }

  #readLine(chunk: Buffer, at: number): number {
    const end = chunk.indexOf(LF, at);
    const length = this.#line.length + (end < 0 ? chunk.length : end) - at;
    if (length > this.#boundOf(chunk, at)) {
      this.#fault("Maximum Control Line Exceeded");
      return chunk.length;
    }
    if (end < 0) {
      this.#line = Buffer.concat([this.#line, chunk.subarray(at)]);
      return chunk.length;
    }
    if (this.#line.length === 0) {
      this.#takeLine(chunk, at, end);
    } else {
      const line = Buffer.concat([this.#line, chunk.subarray(at, end)]);
      this.#line = NONE;
      this.#takeLine(line, 0, line.length);
    }
    return end + 1;
  }

  /** CONNECT carries a token and may be longer; its first letter tells it from every other verb. */
  #boundOf(chunk: Buffer, at: number): number {
    const first = this.#line.length > 0 ? this.#line[0] : chunk[at];
    return lower(first) === 0x63 /* c */ ? this.#connectBytesMax : this.#lineBytesMax;
  }

  #takeLine(bytes: Buffer, start: number, lineEnd: number): void {
    const end = lineEnd > start && bytes[lineEnd - 1] === CR ? lineEnd - 1 : lineEnd;
    const isPublish = this.#takePublish(bytes, start, end);
    if (isPublish) return;
    const text = bytes.toString("latin1", start, end);
    const blank = text.search(/[ \t]/);
    const verb = (blank < 0 ? text : text.slice(0, blank)).toUpperCase();
    const rest = blank < 0 ? "" : text.slice(blank + 1);
    if (verb === "PING") this.#handler.ping();
    else if (verb === "PONG") this.#handler.pong();
    else if (verb === "SUB") this.#takeSubscribe(argumentsOf(rest));
    else if (verb === "UNSUB") this.#takeUnsubscribe(argumentsOf(rest));
    else if (verb === "CONNECT" && blank > 0)
      this.#handler.connect(bytes.toString("utf8", start + blank, end));
    else this.#fault("Unknown Protocol Operation");
  }

  #takeSubscribe(args: readonly string[]): void {
    const [subject, second, third] = args;
    const sid = third ?? second;
    if (subject === undefined || sid === undefined || args.length > 3 || sid.length > SID_BYTES_MAX) {
      this.#fault("Unknown Protocol Operation");
      return;
    }
    this.#handler.subscribe(subject, third === undefined ? undefined : second, sid);
  }

  #takeUnsubscribe(args: readonly string[]): void {
    const [sid, max] = args;
    const isCount = max === undefined || /^\d{1,9}$/.test(max);
    if (sid === undefined || args.length > 2 || sid.length > SID_BYTES_MAX || !isCount) {
      this.#fault("Unknown Protocol Operation");
      return;
    }
    this.#handler.unsubscribe(sid, max === undefined ? undefined : Number(max));
  }

  /** PUB and HPUB, which come by the hundred thousand: read as bytes, and only their subjects become text. */
  #takePublish(bytes: Buffer, start: number, end: number): boolean {
    const hasHeaders = lower(bytes[start]) === 0x68; /* h */
    const verbAt = hasHeaders ? start + 1 : start;
    const isPub =
      lower(bytes[verbAt]) === 0x70 && lower(bytes[verbAt + 1]) === 0x75 && lower(bytes[verbAt + 2]) === 0x62;
    const argsAt = verbAt + 3;
    if (!isPub || argsAt >= end || !isBlank(bytes[argsAt])) return false;
    const words = wordsOf(bytes, argsAt, end);
    const numbers = hasHeaders ? 2 : 1;
    const subjects = words.count - numbers;
    const total = sizeOf(bytes, words, words.count - 1);
    const headerBytes = hasHeaders ? sizeOf(bytes, words, words.count - 2) : 0;
    if (subjects < 1 || subjects > 2 || total < 0 || headerBytes < 0 || headerBytes > total) {
      this.#fault("Unknown Protocol Operation");
    } else if (total > this.payloadBytesMax) {
      this.#fault("Maximum Payload Violation");
    } else {
      const subject = textOf(bytes, words, 0);
      const reply = subjects === 2 ? textOf(bytes, words, 1) : undefined;
      this.#head = { subject, reply, total, ...(hasHeaders && { headerBytes }) };
    }
    return true;
  }

  #readBody(chunk: Buffer, at: number, head: PublishHead): number {
    const wanted = head.total + 2;
    const there = chunk.length - at;
    if (!this.#body && there >= wanted) {
      this.#takeMessage(head, chunk.subarray(at, at + wanted));
      return at + wanted;
    }
    this.#body ??= Buffer.allocUnsafeSlow(wanted);
    const taken = chunk.copy(this.#body, this.#bodyFilled, at, at + wanted - this.#bodyFilled);
    this.#bodyFilled += taken;
    if (this.#bodyFilled === wanted) {
      const body = this.#body;
      this.#body = undefined;
      this.#bodyFilled = 0;
      this.#takeMessage(head, body);
    }
    return at + taken;
  }

  #takeMessage({ subject, reply, total, headerBytes }: PublishHead, body: Buffer): void {
    this.#head = undefined;
    if (body[total] !== CR || body[total + 1] !== LF) {
      this.#fault("Unknown Protocol Operation");
      return;
    }
    this.#handler.publish({
      subject,
      reply,
      headers: headerBytes === undefined ? undefined : body.subarray(0, headerBytes),
      payload: body.subarray(headerBytes ?? 0, total),
    });
  }

  #fault(fault: ClientFault): void {
    this.#over = true;
    this.#handler.fault(fault);
  }
}

interface PublishHead {
  readonly subject: string;
  readonly reply: string | undefined;
  readonly headerBytes?: number;
  readonly total: number;
}

/** Where the words of a line begin and end: subject, reply, two sizes, and one too many. */
const words = { count: 0, from: new Int32Array(5), to: new Int32Array(5) };
type Words = typeof words;

/** @returns the one `words`, filled anew: it is read at once, and a list for each message would be rubbish to collect */
function wordsOf(bytes: Buffer, start: number, end: number): Words {
  let count = 0;
  let at = start;
  while (at < end) {
    while (at < end && isBlank(bytes[at])) at += 1;
    if (at === end) break;
    const from = at;
    while (at < end && !isBlank(bytes[at])) at += 1;
    if (count < words.from.length) {
      words.from[count] = from;
      words.to[count] = at;
    }
    count += 1;
  }
  words.count = count;
  return words;
}

function textOf(bytes: Buffer, { from, to }: Words, index: number): string {
  return bytes.toString("latin1", from[index], to[index]);
}

/** @returns −1 for anything but 1 to 9 digits */
function sizeOf(bytes: Buffer, { count, from, to }: Words, index: number): number {
  if (index < 0 || count > from.length) return -1;
  const [start = 0, end = 0] = [from[index], to[index]];
  if (end - start > 9 || end === start) return -1;
  let size = 0;
  for (let at = start; at < end; at += 1) {
    const digit = (bytes[at] ?? 0) - 0x30;
    if (digit < 0 || digit > 9) return -1;
    size = size * 10 + digit;
  }
  return size;
}

function argumentsOf(text: string): readonly string[] {
  return text.split(/[ \t]+/).filter(Boolean);
}

function isBlank(byte: number | undefined): boolean {
  return byte === SPACE || byte === TAB;
}

function lower(byte: number | undefined): number {
  return (byte ?? 0) | 0x20;
}
