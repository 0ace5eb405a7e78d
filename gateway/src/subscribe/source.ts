import type { InboundMessage } from "../nats/connection.ts";
import type { Outcome } from "../refusal.ts";
import type { EndCode, Positions } from "./event.ts";

/** Where one stream's messages come from. */
export interface Source {
  start(): Promise<Outcome<void>>;
  end(): void;
}

/** What a source brings. */
export interface SourceHandler {
  /** @param place  of a stored message */
  take(message: InboundMessage, place?: Place): void;
  reached(positions: Positions): void;
  end(code: EndCode): void;
}

export interface Place {
  readonly positions: Positions;
  /** To be called once the message has left this process's memory, or never will be needed. */
  readonly taken: () => void;
}
