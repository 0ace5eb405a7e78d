import type { RequestFacts } from "../admit.ts";
import type { Identity, Presented } from "../identity/identity.ts";
import type { Message } from "../prepare.ts";
import type { Published } from "../publish.ts";
import { allowed, type Outcome } from "../refusal.ts";
import type { Stored, Storing } from "../store.ts";
import { askOf, withId } from "./message.ts";
import type { EndpointParts } from "./parts.ts";

/** A message, and what is asked of its way. */
export interface Sending {
  readonly message: Message;
  /** Absent: nobody waits for a stream. */
  readonly storing?: Storing;
  /** Its id is made of this and of who sends it. */
  readonly key?: string;
}

export interface SendAsk {
  readonly presented: Outcome<Presented>;
  readonly facts: RequestFacts;
  /** Refused when not well-formed: that too is a decision, and recorded. */
  readonly sending: Outcome<Sending>;
  /** Where no stream is waited for: answers once it is on its way, or once nats-server has it. */
  readonly until?: "sent" | "received";
}

export type Send = (ask: SendAsk) => Promise<Outcome<Published | Stored>>;

/** The way of every message that is published over HTTP, alone or in a batch: decided upon, recorded, sent. */
export function createSend({ admit, effects, messageIdOf }: EndpointParts): Send {
  return async function send({ presented, facts, sending, until }) {
    const message = sending.ok ? allowed(sending.value.message) : sending;
    const idOf = sending.ok ? derivedIdOf(sending.value, messageIdOf) : undefined;
    const ask = askOf("publish", presented, message, { facts });
    const admission = await admit({ ...ask, ...(idOf && { messageIdOf: idOf }) });
    if (!admission.ok) return admission;
    if (!sending.ok) return sending;
    const { storing, message: given } = sending.value;
    const named = idOf ? withId(given, idOf(admission.value.identity), facts) : given;
    return storing
      ? await effects.store(admission.value, named, storing)
      : await effects.publish(admission.value, named, until);
  };
}

/** What makes the message's id of its key and of who sends it; undefined where it has a random one. */
function derivedIdOf(
  { key, message }: Sending,
  messageIdOf: EndpointParts["messageIdOf"],
): ((identity: Identity) => string) | undefined {
  return key === undefined ? undefined : (identity) => messageIdOf(identity, message.facts.subject, key);
}
