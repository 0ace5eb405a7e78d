import type { FastifyRequest } from "fastify";
import type { Admit } from "../admit.ts";
import type { Consume } from "../consume.ts";
import type { Identity, Presented } from "../identity/identity.ts";
import type { KeyValue } from "../key-value.ts";
import type { Publish } from "../publish.ts";
import type { Outcome } from "../refusal.ts";
import type { Subscribe } from "../subscribe.ts";
import type { Clock } from "../time.ts";

/** What an entrance works with: the one way in, and the effects behind it. */
export interface EndpointParts {
  readonly admit: Admit;
  readonly effects: Publish;
  readonly keyValue: KeyValue;
  readonly consume: Consume;
  /** The subkey `ack-handle` of the cluster secret. */
  readonly ackKey: () => Buffer;
  readonly streams: Subscribe;
  /** What the request presents, read from its raw headers and from what its hop, which is proven, says. */
  readonly presentedOf: (request: Pick<FastifyRequest, "raw" | "hop">) => Outcome<Presented>;
  /** The id of a message that its sender gave a key. */
  readonly messageIdOf: (identity: Identity, subject: string, idempotencyKey: string) => string;
  readonly clock: Clock;
}
