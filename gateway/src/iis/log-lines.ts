/** IIS writes at most 65,536 bytes a line (maxLogLineLength); one that is twice as long has lost its end. */
export const LINE_BYTES_MAX = 131_072;
/** The columns of a line that is longer: its text is only the beginning of it. */
export const OVERLONG: number = -1;

const LF = 0x0a;
const CR = 0x0d;
const SPACE = 0x20;

/** One line in the bytes it was found in, without its line break; good until the next call. */
export interface LineBytes {
  readonly bytes: Buffer;
  readonly start: number;
  readonly end: number;
  /** Runs of characters between blanks. Several blanks part columns as one does: IIS writes `-` for an empty one. */
  readonly columns: number;
}

type Take = (line: LineBytes) => void;

/**
 * Parts a log into lines as its bytes come, in memory that does not grow: a gigabyte a second on one core, so that
 * looking at every line costs little more than reading it.
 */
export class LineSplitter {
  /** The beginning of a line whose end has not come. */
  #carried: Buffer[] = [];
  #carriedBytes = 0;
  /** @param chunk  not kept, but for its last, unfinished line, which is copied */
  split(chunk: Buffer, take: Take): void {
    const from = this.#carriedBytes === 0 ? 0 : this.#finishCarried(chunk, take);
    this.#carry(chunk, splitWhole(chunk, from, take));
  }

  /** The last line may have no end: a server that still writes it, or a copy that was cut. @returns whether there was one */
  end(take: Take): boolean {
    if (this.#carriedBytes === 0) return false;
    this.#takeCarried(take);
    return true;
  }

  #finishCarried(chunk: Buffer, take: Take): number {
    const end = chunk.indexOf(LF);
    if (end < 0) return 0;
    this.#carry(chunk.subarray(0, end), 0);
    this.#takeCarried(take);
    return end + 1;
  }

  #takeCarried(take: Take): void {
    const line = Buffer.concat(this.#carried);
    const whole = this.#carriedBytes <= LINE_BYTES_MAX;
    this.#carried = [];
    this.#carriedBytes = 0;
    if (whole) takeLine(line, take);
    else take({ bytes: line, start: 0, end: line.length, columns: OVERLONG });
  }

  #carry(chunk: Buffer, from: number): void {
    const bytes = chunk.length - from;
    // Beyond the bound only the length is remembered.
    if (bytes > 0 && this.#carriedBytes <= LINE_BYTES_MAX)
      this.#carried.push(Buffer.from(chunk.subarray(from)));
    this.#carriedBytes += bytes;
  }
}

/** @returns where the unfinished line begins */
function splitWhole(chunk: Buffer, from: number, take: Take): number {
  let start = from;
  let columns = 0;
  let inColumn = false;
  for (let at = from; at < chunk.length; at += 1) {
    const byte = chunk[at] as number;
    if (byte > SPACE) {
      if (!inColumn) columns += 1;
      inColumn = true;
    } else if (byte === LF) {
      const end = at > start && chunk[at - 1] === CR ? at - 1 : at;
      take({ bytes: chunk, start, end, columns: end - start > LINE_BYTES_MAX ? OVERLONG : columns });
      start = at + 1;
      columns = 0;
      inColumn = false;
    } else if (byte === SPACE) inColumn = false;
  }
  return start;
}

function takeLine(line: Buffer, take: Take): void {
  splitWhole(Buffer.concat([line, Buffer.of(LF)]), 0, take);
}
