/** The control line of one MSG or HMSG. One object is filled anew for each message: read it at once. */
export interface MessageHead {
  bytes: Buffer;
  /** Of the line, its CRLF included. */
  start: number;
  end: number;
  subjectStart: number;
  subjectEnd: number;
  sid: Sid;
  sidStart: number;
  sidEnd: number;
  /** Equal when there is no reply subject. */
  replyStart: number;
  replyEnd: number;
  headerBytes: number;
  totalBytes: number;
}

/** A sid of up to nine digits as a number, which is the quicker key; any other as text. */
export type Sid = number | string;

/** What becomes of a message: it passes as it is, is left out, or comes again as a whole, by `whole`. */
export type Way = "pass" | "drop" | "whole";

export interface ServerHandler {
  /** @returns its way; or a control line to pass its payload under */
  message(head: MessageHead): Way | Buffer;
  /** A message asked for as a whole: `bytes` from its control line to its last CRLF. `head` lies in `bytes`. */
  whole(head: MessageHead, bytes: Buffer): void;
  /** Any other line, without its end. */
  line(text: string): void;
  /** Bytes for the client, in order. */
  out(bytes: Buffer): void;
  /** nats-server does not speak as it should: the connection is of no more use. */
  fault(why: string): void;
}

/** The longest line of nats-server's is INFO with the addresses of its cluster. */
const LINE_BYTES_MAX = 1024 * 1024;
const NONE: Buffer = Buffer.alloc(0);
const LF = 0x0a;
const CR = 0x0d;
const SPACE = 0x20;
const LETTER_M = 0x4d;
const LETTER_H = 0x48;

/**
 * Reads the server's half of the NATS protocol out of chunks that may be cut anywhere. Payloads are skipped by their
 * length, and whatever passes unchanged leaves as part of the chunk it came in: nothing is copied.
 */
export class ServerParser {
  readonly #handler: ServerHandler;
  readonly #head: MessageHead = emptyHead();
  /** Bytes of the chunk from here to where it has been read pass, and have not been handed over. */
  #from = 0;
  /** The beginning of a control line whose end has not come. */
  #line: Buffer = NONE;
  /** What is left of the message being read, its CRLF included, and whether it passes. */
  #left = 0;
  #passes = true;
  #whole: { readonly bytes: Buffer; readonly lineBytes: number; filled: number } | undefined;
  #over = false;

  constructor(handler: ServerHandler) {
    this.#handler = handler;
  }

  /** Whether what was handed over stops inside a message. */
  get inMessage(): boolean {
    return this.#left > 0 && this.#passes;
  }

  feed(chunk: Buffer): void {
    this.#from = 0;
    let at = 0;
    while (at < chunk.length && !this.#over) {
      at = this.#left > 0 ? this.#readBody(chunk, at) : this.#readLine(chunk, at);
    }
    if (!this.#over) this.#passUpTo(chunk, at);
  }

  #passUpTo(chunk: Buffer, end: number): void {
    if (end > this.#from) this.#handler.out(chunk.subarray(this.#from, end));
    this.#from = end;
  }

  /** Leaves out what stands from `start` to `end`. */
  #leaveOut(chunk: Buffer, start: number, end: number): void {
    this.#passUpTo(chunk, start);
    this.#from = end;
  }

  #readBody(chunk: Buffer, at: number): number {
    const end = Math.min(chunk.length, at + this.#left);
    this.#left -= end - at;
    if (this.#passes) return end;
    this.#leaveOut(chunk, at, end);
    const whole = this.#whole;
    if (!whole) return end;
    whole.filled += chunk.copy(whole.bytes, whole.filled, at, end);
    if (this.#left === 0) this.#takeWhole(whole.bytes, whole.lineBytes);
    return end;
  }

  #readLine(chunk: Buffer, at: number): number {
    const lf = chunk.indexOf(LF, at);
    const end = lf < 0 ? chunk.length : lf + 1;
    if (this.#line.length + end - at > LINE_BYTES_MAX) {
      this.#fault("a control line that does not end");
    } else if (lf >= 0 && this.#line.length === 0) {
      this.#takeLine(chunk, at, end, chunk);
    } else {
      this.#leaveOut(chunk, at, end);
      const line = Buffer.concat([this.#line, chunk.subarray(at, end)]);
      this.#line = lf < 0 ? line : NONE;
      if (lf >= 0) this.#takeLine(line, 0, line.length);
    }
    return end;
  }

  /** @param chunk  where the line stands in one, from which it then may pass */
  #takeLine(bytes: Buffer, start: number, end: number, chunk?: Buffer): void {
    const first = bytes[start];
    if (first !== LETTER_M && first !== LETTER_H) {
      if (chunk) this.#leaveOut(chunk, start, end);
      const textEnd = bytes[end - 2] === CR ? end - 2 : end - 1;
      this.#handler.line(bytes.toString("utf8", start, textEnd));
      return;
    }
    const head = this.#head;
    if (!readHead(head, bytes, start, end)) {
      this.#fault("a message that cannot be read");
      return;
    }
    this.#left = head.totalBytes + 2;
    const way = this.#handler.message(head);
    this.#passes = way === "pass" || typeof way === "object";
    if (way === "pass") {
      if (!chunk) this.#handler.out(bytes.subarray(start, end));
      return;
    }
    if (chunk) this.#leaveOut(chunk, start, end);
    if (typeof way === "object") this.#handler.out(way);
    if (way === "whole") this.#beginWhole(bytes.subarray(start, end));
  }

  #beginWhole(line: Buffer): void {
    const bytes = Buffer.allocUnsafeSlow(line.length + this.#left);
    this.#whole = { bytes, lineBytes: line.length, filled: line.copy(bytes) };
  }

  #takeWhole(bytes: Buffer, lineBytes: number): void {
    this.#whole = undefined;
    readHead(this.#head, bytes, 0, lineBytes);
    this.#handler.whole(this.#head, bytes);
  }

  #fault(why: string): void {
    this.#over = true;
    this.#handler.fault(why);
  }
}

export function emptyHead(): MessageHead {
  return {
    bytes: NONE,
    start: 0,
    end: 0,
    subjectStart: 0,
    subjectEnd: 0,
    sid: 0,
    sidStart: 0,
    sidEnd: 0,
    replyStart: 0,
    replyEnd: 0,
    headerBytes: 0,
    totalBytes: 0,
  };
}

/** `MSG subject sid [reply] total` or `HMSG subject sid [reply] headers total`, one blank between each and CRLF. */
export function readHead(head: MessageHead, bytes: Buffer, start: number, end: number): boolean {
  const hasHeaders = bytes[start] === LETTER_H;
  const last = end - 2;
  head.bytes = bytes;
  head.start = start;
  head.end = end;
  head.subjectStart = start + (hasHeaders ? 5 : 4);
  head.subjectEnd = wordEnd(bytes, head.subjectStart, last);
  head.sidStart = head.subjectEnd + 1;
  head.sidEnd = wordEnd(bytes, head.sidStart, last);
  let at = head.sidEnd + 1;
  let wordTo = wordEnd(bytes, at, last);
  head.replyStart = at;
  head.replyEnd = at;
  // A reply subject stands there when more numbers follow than are needed without.
  const sizes = hasHeaders ? 2 : 1;
  if (countWords(bytes, at, last) > sizes) {
    head.replyEnd = wordTo;
    at = wordTo + 1;
    wordTo = wordEnd(bytes, at, last);
  }
  head.headerBytes = 0;
  if (hasHeaders) {
    head.headerBytes = numberOf(bytes, at, wordTo);
    at = wordTo + 1;
    wordTo = wordEnd(bytes, at, last);
  }
  head.totalBytes = numberOf(bytes, at, wordTo);
  head.sid = sidOf(bytes, head.sidStart, head.sidEnd);
  const isRead = bytes[last] === CR && wordTo === last && head.headerBytes >= 0 && head.totalBytes >= 0;
  return isRead && head.headerBytes <= head.totalBytes && hasWords(head);
}

function hasWords({ subjectStart, subjectEnd, sidStart, sidEnd }: MessageHead): boolean {
  return subjectEnd > subjectStart && sidEnd > sidStart;
}

function sidOf(bytes: Buffer, start: number, end: number): Sid {
  const isNumber = end - start <= 9 && (bytes[start] !== 0x30 || end - start === 1);
  const number = isNumber ? numberOf(bytes, start, end) : -1;
  return number >= 0 ? number : bytes.toString("latin1", start, end);
}

function wordEnd(bytes: Buffer, start: number, end: number): number {
  let at = start;
  while (at < end && bytes[at] !== SPACE) at += 1;
  return at;
}

function countWords(bytes: Buffer, start: number, end: number): number {
  let count = 1;
  for (let at = start; at < end; at += 1) if (bytes[at] === SPACE) count += 1;
  return count;
}

/** @returns −1 for anything but 1 to 9 digits */
function numberOf(bytes: Buffer, start: number, end: number): number {
  if (end <= start || end - start > 9) return -1;
  let number = 0;
  for (let at = start; at < end; at += 1) {
    const digit = (bytes[at] ?? 0) - 0x30;
    if (digit < 0 || digit > 9) return -1;
    number = number * 10 + digit;
  }
  return number;
}
