import { LINE_BYTES_MAX, type LineBytes, LineSplitter, OVERLONG } from "./log-lines.ts";

/** One request as a W3C extended log tells it. */
export interface LogLine {
  readonly file: string;
  /** 1-based. */
  readonly number: number;
  /** When it was logged, milliseconds since 1970; undefined where the log does not say. */
  readonly atMs: number | undefined;
  /** The site's log, or HTTP.sys's own of requests that never reached a site. */
  readonly kind: "iis" | "httperr";
  /**
   * A column by its name in `#Fields`, lower case, as it stands in the file: blanks in headers are `+`, and a real `+`
   * is one too. Bytes that are no UTF-8 stand as they are, one character each.
   *
   * @returns undefined for `-`, and for a column that this log has not
   */
  readonly field: (name: string) => string | undefined;
}

/** What was read of a log, and what could not be. */
export interface LogReport {
  readonly file: string;
  bytes: number;
  lines: number;
  /** Of other columns than the last `#Fields` names, before any, too long, or of no text. */
  malformed: number;
  /** The first few of them, for whoever looks. */
  readonly examples: { readonly number: number; readonly why: string }[];
  /** Ended in the middle of a line: it is still being written, or was cut. */
  unfinished: boolean;
  /** From the first to the last line that says when. */
  fromMs: number | undefined;
  toMs: number | undefined;
  /** Every `#Fields` that was met, so that a missing column can be named. */
  readonly fields: Set<string>;
}

export interface LogReaderOptions {
  readonly file: string;
  /** Bytes of which a line has to hold one; none = every line is handed over. */
  readonly needles: readonly Buffer[];
  readonly onLine: (line: LogLine) => void;
}

const HTTPERR_FILE = /(?:^|[/\\])httperr\d*\.log/i;
const EXAMPLES_MAX = 5;
const HASH = 0x23;
const DAY_MS = 86_400_000;
/** A clock that goes back by more has passed midnight; by less, lines of one moment are out of order. */
const MIDNIGHT_MS = DAY_MS / 2;

/**
 * For a part of HTTP.sys's error log that was cut off its head.
 *
 * @source  the documented columns of HTTPERR; later versions add some, and name them in `#Fields`
 */
const HTTPERR_FIELDS =
  "date time c-ip c-port s-ip s-port cs-version cs-method cs-uri sc-status s-siteid s-reason s-queuename";

/**
 * Reads a W3C extended log as IIS and HTTP.sys write it: columns are bound anew at every `#Fields`, a log without
 * dates takes the day of its last `#Date`, a line that does not fit is counted and never guessed at.
 *
 * @source  W3C Working Draft WD-logfile-960323; IIS logFile reference; samples of real logs
 */
export class W3cLogReader {
  readonly report: LogReport;
  readonly #options: LogReaderOptions;
  readonly #lines = new LineSplitter();
  readonly #take: (line: LineBytes) => void;
  readonly #clock = new LogClock();
  #columns: Columns | undefined;
  /** Whether the chunk that is being read holds a needle at all. */
  #near = true;
  /** The last line of its chunk that fitted, so that the clock follows without reading every line. */
  #last: LineBytes | undefined;

  constructor(options: LogReaderOptions) {
    const { file } = options;
    this.#options = options;
    this.report = {
      ...{ file, bytes: 0, lines: 0, malformed: 0, examples: [], unfinished: false },
      ...{ fromMs: undefined, toMs: undefined, fields: new Set() },
    };
    if (HTTPERR_FILE.test(file)) this.#columns = columnsOf(HTTPERR_FIELDS);
    this.#take = (line) => this.#line(line);
  }

  /** @param chunk  the next bytes of the file; not kept */
  read(chunk: Buffer): void {
    const { needles } = this.#options;
    const text = this.report.bytes === 0 ? withoutMark(chunk) : chunk;
    this.report.bytes += chunk.length;
    this.#near = needles.length === 0 || needles.some((needle) => text.includes(needle));
    this.#lines.split(text, this.#take);
    this.#noteLast();
  }

  end(): LogReport {
    const { malformed, examples } = this.report;
    this.report.unfinished = this.#lines.end(this.#take);
    this.#noteLast();
    if (this.report.unfinished && this.report.malformed > malformed) {
      // A line that is still being written is not malformed.
      this.report.malformed = malformed;
      examples.length = Math.min(examples.length, malformed);
    }
    return this.report;
  }

  #line(line: LineBytes): void {
    this.report.lines += 1;
    if (line.bytes[line.start] === HASH) {
      this.#directive(textOf(line));
      return;
    }
    const columns = this.#columns;
    if (line.columns !== columns?.count) {
      this.#misfit(line);
      return;
    }
    this.#last = line;
    if (this.report.fromMs === undefined) this.#noteLast();
    if (!this.#wanted(line)) return;
    const values = textOf(line).split(/ +/);
    const field = (name: string): string | undefined => textValueOf(values[columns.index.get(name) ?? -1]);
    const { file, onLine } = this.#options;
    const atMs = this.#clock.read(field("date"), field("time"));
    onLine({ file, number: this.report.lines, atMs, kind: columns.kind, field });
  }

  /** A line that was carried over is in bytes of its own, which the look at the chunk has not seen. */
  #wanted({ bytes, start, end }: LineBytes): boolean {
    const { needles } = this.#options;
    if (needles.length === 0) return true;
    if (!this.#near && start > 0) return false;
    const text = bytes.subarray(start, end);
    return needles.some((needle) => text.includes(needle));
  }

  #noteLast(): void {
    const columns = this.#columns;
    if (this.#last === undefined || columns === undefined) return;
    const values = textOf(this.#last).split(/ +/);
    const read = (name: string): string | undefined => values[columns.index.get(name) ?? -1];
    const atMs = this.#clock.read(read("date"), read("time"));
    this.#last = undefined;
    if (atMs === undefined) return;
    this.report.fromMs ??= atMs;
    this.report.toMs = atMs;
  }

  #directive(text: string): void {
    const [name = "", ...rest] = text.split(":");
    const value = rest.join(":").trim();
    if (/^#fields$/i.test(name)) {
      this.#noteLast();
      this.#columns = columnsOf(value);
      for (const field of this.#columns.index.keys()) this.report.fields.add(field);
    } else if (/^#date$/i.test(name)) this.#clock.begin(value);
  }

  #misfit({ start, end, columns }: LineBytes): void {
    // An empty line says nothing, and is nobody's request.
    if (start === end) return;
    const expected = this.#columns?.count;
    if (columns === OVERLONG) this.#malformed(`is longer than any line of IIS's, ${LINE_BYTES_MAX} bytes`);
    else if (expected === undefined) this.#malformed("stands before any #Fields");
    else this.#malformed(`has ${columns} columns where #Fields names ${expected}`);
  }

  #malformed(why: string): void {
    const { report } = this;
    report.malformed += 1;
    if (report.examples.length < EXAMPLES_MAX) report.examples.push({ number: report.lines, why });
  }
}

/** Names of columns, by their places. */
interface Columns {
  readonly index: ReadonlyMap<string, number>;
  readonly count: number;
  readonly kind: LogLine["kind"];
}

function columnsOf(fields: string): Columns {
  const names = fields.split(/ +/).filter((name) => name !== "");
  // Two columns of one name, and the first would be a guess: IIS names its own before the site's custom ones.
  const index = new Map(names.map((name, at) => [name.toLowerCase(), at] as const).reverse());
  const kind = index.has("s-reason") || index.has("s-queuename") ? "httperr" : "iis";
  return { index, count: names.length, kind };
}

/** Says when a line was written, also where the log has no dates. Always UTC, as W3C logs of IIS are. */
class LogClock {
  #dayMs: number | undefined;
  #timeMs = 0;

  /** @param date  of a `#Date`: `2026-11-26 00:00:00` */
  begin(date: string): void {
    const atMs = Date.parse(`${date.replace(" ", "T")}Z`);
    if (Number.isNaN(atMs)) return;
    this.#timeMs = atMs % DAY_MS;
    this.#dayMs = atMs - this.#timeMs;
  }

  read(date: string | undefined, time: string | undefined): number | undefined {
    if (time === undefined) return undefined;
    if (date !== undefined) return numberOr(Date.parse(`${date}T${time}Z`));
    const timeMs = Date.parse(`1970-01-01T${time}Z`);
    if (this.#dayMs === undefined || Number.isNaN(timeMs)) return undefined;
    if (timeMs < this.#timeMs - MIDNIGHT_MS) this.#dayMs += DAY_MS;
    this.#timeMs = timeMs;
    return this.#dayMs + timeMs;
  }
}

function numberOr(value: number): number | undefined {
  return Number.isNaN(value) ? undefined : value;
}

/** Bytes as characters: a log may hold bytes of any encoding. */
function textOf({ bytes, start, end }: LineBytes): string {
  return bytes.toString("latin1", start, end).trim();
}

const UTF8 = new TextDecoder("utf-8", { fatal: true });

function textValueOf(text: string | undefined): string | undefined {
  if (text === undefined || text === "-") return undefined;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: ASCII is what needs no decoding.
  if (/^[\x00-\x7f]*$/.test(text)) return text;
  try {
    return UTF8.decode(Buffer.from(text, "latin1"));
  } catch {
    return text;
  }
}

/** Without the mark of UTF-8, which some editors leave when a log was saved by hand. */
function withoutMark(chunk: Buffer): Buffer {
  return chunk[0] === 0xef && chunk[1] === 0xbb && chunk[2] === 0xbf ? chunk.subarray(3) : chunk;
}
