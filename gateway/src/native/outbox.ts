/** One thing a client asked for, in its turn: bytes for NATS, or something to do between others' bytes. */
export interface Step {
  /** Whether all it waits for (its record, its seal) is there. */
  ready: boolean;
  /** Control line and headers, in Latin-1; with the payload and a CRLF after it. Empty = nothing to send. */
  head: string;
  payload: Uint8Array;
  /** Done in its turn, after what stands before has been written. */
  run: (() => void) | undefined;
  /** Where it goes, if not to the link in use. */
  to: Writable | undefined;
}

export interface Writable {
  write(bytes: Uint8Array): void;
}

export interface OutboxParts {
  readonly live: () => Writable;
  /** Room has come: called after something has left. */
  readonly onRoom: () => void;
}

/** Steps that wait, and bytes of their payloads; beyond, nothing more is read from the client. */
const STEPS_MAX = 4_096;
const BYTES_MAX = 4 * 1024 * 1024;
/** What a step costs besides its payload. */
const STEP_BYTES = 512;
/** Payloads up to this are copied into one write; a copy is cheaper than a write. */
const COPIED_BYTES_MAX = 64 * 1024;
const CRLF = Buffer.from("\r\n");
const EMPTY: Uint8Array = Buffer.alloc(0);

/** What one client asked for leaves in the order it came, whatever each of them waits for. */
export class Outbox {
  readonly #parts: OutboxParts;
  #steps: Step[] = [];
  #first = 0;
  #bytes = 0;
  #held = false;
  #scheduled = false;

  constructor(parts: OutboxParts) {
    this.#parts = parts;
  }

  get isFull(): boolean {
    return this.#steps.length - this.#first >= STEPS_MAX || this.#bytes >= BYTES_MAX;
  }

  get isEmpty(): boolean {
    return this.#first === this.#steps.length;
  }

  /** Takes a place in the order; `ready` lets it go. */
  reserve(payload: Uint8Array = EMPTY): Step {
    const step: Step = { ready: false, head: "", payload, run: undefined, to: undefined };
    this.#steps.push(step);
    this.#bytes += payload.length + STEP_BYTES;
    return step;
  }

  /** Something to do once all before it has been written. */
  inTurn(run: () => void): void {
    const step = this.reserve();
    step.run = run;
    this.ready(step);
  }

  ready(step: Step): void {
    step.ready = true;
    if (step === this.#steps[this.#first]) this.#schedule();
  }

  hold(): void {
    this.#held = true;
  }

  release(): void {
    this.#held = false;
    this.#schedule();
  }

  /** What is ready in one turn leaves by one write. */
  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    process.nextTick(() => {
      this.#scheduled = false;
      this.#drain();
    });
  }

  #drain(): void {
    let batch: Step[] = [];
    let to: Writable | undefined;
    while (!this.#held) {
      const step = this.#steps[this.#first];
      if (!step?.ready) break;
      this.#first += 1;
      this.#bytes -= step.payload.length + STEP_BYTES;
      const target = step.to ?? this.#parts.live();
      if (step.head !== "") {
        if (target !== to && batch.length > 0) {
          if (to) write(to, batch);
          batch = [];
        }
        to = target;
        batch.push(step);
      }
      if (step.run) {
        if (to) write(to, batch);
        batch = [];
        step.run();
      }
    }
    if (to) write(to, batch);
    this.#forgetDone();
    this.#parts.onRoom();
  }

  #forgetDone(): void {
    if (this.#first === this.#steps.length) this.#steps = [];
    else if (this.#first > STEPS_MAX) this.#steps = this.#steps.slice(this.#first);
    else return;
    this.#first = 0;
  }
}

function write(to: Writable, batch: readonly Step[]): void {
  let length = 0;
  for (const { head, payload } of batch) {
    length += head.length + 2 + (payload.length > COPIED_BYTES_MAX ? 0 : payload.length);
  }
  if (length === 0) return;
  const bytes = Buffer.allocUnsafe(length);
  let from = 0;
  let at = 0;
  for (const { head, payload } of batch) {
    at += bytes.write(head, at, "latin1");
    if (payload.length > COPIED_BYTES_MAX) {
      to.write(bytes.subarray(from, at));
      to.write(payload);
      from = at;
    } else {
      bytes.set(payload, at);
      at += payload.length;
    }
    at += CRLF.copy(bytes, at);
  }
  to.write(bytes.subarray(from, at));
}
