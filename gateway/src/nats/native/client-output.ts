import type { ClientWire } from "./client-wire.ts";

/**
 * What goes to one client, in whole messages: of a message that a chunk has cut the beginning waits for its end, so
 * that a line of ours, or a message of the link that takes over, never lands inside.
 */
export class ClientOutput {
  readonly #wire: ClientWire;
  #parts: Uint8Array[] = [];
  /** Whether `#parts` ends inside a message. */
  #inMessage = false;
  /** What came meanwhile and is whole. */
  #after: Uint8Array[] = [];
  #scheduled = false;
  #over = false;

  constructor(wire: ClientWire) {
    this.#wire = wire;
  }

  /** Bytes of the link in use, as they come; `flush` says where they stop. */
  pass(bytes: Uint8Array): void {
    this.#parts.push(bytes);
  }

  /** @param inMessage  whether what has passed stops inside a message */
  flush(inMessage: boolean): void {
    this.#inMessage = inMessage;
    if (!inMessage) this.#send();
  }

  /** A whole line, or a whole message. Those of one turn leave together. */
  write(bytes: Uint8Array | string): void {
    const whole = typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes;
    (this.#inMessage ? this.#after : this.#parts).push(whole);
    if (this.#inMessage || this.#scheduled) return;
    this.#scheduled = true;
    process.nextTick(() => {
      this.#scheduled = false;
      if (!this.#inMessage) this.#send();
    });
  }

  /** The last words. A message that has begun and has not ended is left out, and nothing follows. */
  end(words: string): void {
    if (this.#over) return;
    if (this.#inMessage) this.#parts = [];
    this.#inMessage = false;
    if (words !== "") this.#after.push(Buffer.from(words, "latin1"));
    this.#send();
    this.#over = true;
  }

  #send(): void {
    const parts = this.#after.length > 0 ? [...this.#parts, ...this.#after] : this.#parts;
    this.#parts = [];
    this.#after = [];
    if (parts.length > 0 && !this.#over) this.#wire.send(parts);
  }
}
