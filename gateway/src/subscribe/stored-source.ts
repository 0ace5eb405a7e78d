import type { Connection } from "../nats/connection.ts";
import { StreamOrder } from "../nats/reader/stream-order.ts";
import {
  type Beginning,
  type ReadFrom,
  type StoredMessage,
  StreamReader,
} from "../nats/reader/stream-reader.ts";
import type { Grant } from "../policy/grant.ts";
import { allowed, type Outcome } from "../refusal.ts";
import type { SubscribeAdmission } from "./event.ts";
import type { Source, SourceHandler } from "./source.ts";

/** Which stream to read, and where to begin with each subject. */
export interface StoredReading {
  readonly stream: string;
  /** One for each admission, in their order. */
  readonly from: readonly ReadFrom[];
}

/** Messages that all subjects of one stream may hold here. */
const HELD_MAX = 256;

/**
 * Messages of one stream, each subject through a reader of its own: nats-server compares the filter of a consumer with
 * the Grant only where there is just one. Each subject has a position of its own too, so that reading goes on exactly
 * where it ended, in whichever order the subjects' messages were passed on.
 */
export class StoredSource implements Source {
  readonly #reading: StoredReading;
  readonly #handler: SourceHandler;
  readonly #readers: readonly StreamReader[];
  readonly #order: StreamOrder<StoredMessage>;
  #positions: readonly number[] = [];

  constructor(
    connection: Connection,
    admissions: readonly SubscribeAdmission[],
    {
      reading,
      grant,
      handler,
    }: { readonly reading: StoredReading; readonly grant: () => Grant; readonly handler: SourceHandler },
  ) {
    this.#reading = reading;
    this.#handler = handler;
    this.#order = new StreamOrder(admissions.length);
    const batch = Math.floor(HELD_MAX / admissions.length);
    const { stream } = reading;
    const numbers = (): number => grant().limits.connections;
    this.#readers = admissions.map(({ subject }, index) => {
      const options = { connection, stream, filter: subject, user: grant().user, numbers };
      const onMessage = (message: StoredMessage): void => this.#pass(this.#order.push(index, message));
      const onIdle = (position: number): void => this.#takeIdle(index, position);
      const onEnd: ConstructorParameters<typeof StreamReader>[1]["onEnd"] = (why) =>
        handler.end(why === "revoked" ? "logout" : why);
      return new StreamReader(options, { onMessage, onIdle, onEnd }, batch);
    });
  }

  async start(): Promise<Outcome<void>> {
    const { from } = this.#reading;
    const opened = await Promise.all(
      this.#readers.map((reader, index) => reader.open(from[index] ?? { from: "new" })),
    );
    const beginnings: Beginning[] = [];
    for (const outcome of opened) {
      if (!outcome.ok) return outcome;
      beginnings.push(outcome.value);
    }
    // Said before anything is passed on, or whoever loses the stream before its first message would lose that message.
    // What has come meanwhile is held: the reader that began last has said nothing yet.
    this.#positions = beginnings.map(({ position }) => position);
    this.#handler.reached(this.#positions);
    for (const [index, { pending }] of beginnings.entries())
      if (pending === 0) this.#pass(this.#order.idle(index));
    return allowed(undefined);
  }

  end(): void {
    for (const reader of this.#readers) reader.end();
  }

  #pass(released: readonly (readonly [number, StoredMessage])[]): void {
    for (const [index, message] of released) {
      this.#positions = this.#positions.with(index, message.sequence);
      const place = { positions: this.#positions, taken: () => this.#readers[index]?.taken(message) };
      this.#handler.take(message, place);
    }
  }

  #takeIdle(index: number, position: number): void {
    this.#pass(this.#order.idle(index));
    const isFurther = position > (this.#positions[index] ?? position);
    if (this.#order.holds(index) || !isFurther) return;
    this.#positions = this.#positions.with(index, position);
    this.#handler.reached(this.#positions);
  }
}
