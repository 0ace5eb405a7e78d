/** The client's end, whatever carries it. Bytes leave in the order they are given; nobody cuts in. */
export interface ClientWire {
  send(parts: readonly Uint8Array[]): void;
  /** Given and not yet taken by the kernel. */
  readonly unsentBytes: number;
  /** Stops and goes on reading what the client sends; a chunk that was read before may still come. */
  pause(): void;
  resume(): void;
  /** Lets what was given leave, for a while, and closes. */
  close(): void;
}
