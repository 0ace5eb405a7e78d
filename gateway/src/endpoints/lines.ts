const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;

/** A line of a body, without its end; `undefined` for one that is longer than may be, whose bytes are let go. */
export type Line = Uint8Array | undefined;

/** Divides a body into lines as it comes. Holds no more than one line that is not whole. */
export class LineReader {
  readonly #bytesMax: number;
  readonly #begun: Uint8Array[] = [];
  #begunBytes = 0;
  #isOverlong = false;
  #isEnded = false;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** Whether `end` was asked for. */
  get isEnded(): boolean {
    return this.#isEnded;
  }

  /** @returns the lines that these bytes make whole; empty ones are none */
  *push(bytes: Uint8Array): Generator<Line> {
    let from = 0;
    for (let at = bytes.indexOf(LINE_FEED); at >= 0; at = bytes.indexOf(LINE_FEED, from)) {
      this.#add(bytes.subarray(from, at));
      from = at + 1;
      yield* this.#whole();
    }
    // Copied, or a line of a few bytes would keep all of what it came with.
    this.#add(Uint8Array.from(bytes.subarray(from)));
  }

  /** @returns what is left when there is no more, which is a line too */
  end(): Generator<Line> {
    this.#isEnded = true;
    return this.#whole();
  }

  *#whole(): Generator<Line> {
    const line = this.#isOverlong ? undefined : withoutReturn(joined(this.#begun, this.#begunBytes));
    const isEmpty = line?.length === 0;
    this.#begun.length = 0;
    this.#begunBytes = 0;
    this.#isOverlong = false;
    if (!isEmpty) yield line;
  }

  #add(bytes: Uint8Array): void {
    if (bytes.length === 0 || this.#isOverlong) return;
    this.#begunBytes += bytes.length;
    this.#isOverlong = this.#begunBytes > this.#bytesMax;
    if (this.#isOverlong) this.#begun.length = 0;
    else this.#begun.push(bytes);
  }
}

function joined(parts: readonly Uint8Array[], bytes: number): Uint8Array {
  return parts.length === 1 ? (parts[0] ?? new Uint8Array(0)) : Buffer.concat(parts, bytes);
}

function withoutReturn(line: Uint8Array): Uint8Array {
  return line.at(-1) === CARRIAGE_RETURN ? line.subarray(0, -1) : line;
}
