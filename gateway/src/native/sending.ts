import { payloadDigest, type SealDraft, uuidv7 } from "@countersign/seal";
import { identityFacts } from "../admit.ts";
import type { HeaderList } from "../nats/connection.ts";
import type { GrantLine } from "../policy/grant.ts";
import type { Sealed } from "../seal-turn.ts";
import { type EpochSeconds, isoTimeOf } from "../time.ts";
import { traceparentOf } from "../trace.ts";
import type { Holder, NativeShared } from "./context.ts";
import type { Outbox, Step, Writable } from "./outbox.ts";
import type { Tallies, Tally } from "./tallies.ts";

/** One message as it was decided. */
export interface Outgoing {
  readonly line: GrantLine;
  /** Whether its own record must be on disk before it leaves. */
  readonly durable: boolean;
  readonly subject: string;
  /** As NATS knows it. */
  readonly reply: string | undefined;
  readonly payload: Uint8Array;
  /** Those of the client that may travel; the seal covers what is its own. */
  readonly headers: HeaderList;
  /** Absent: it leaves unsealed. */
  readonly seal?: SealWith | undefined;
  /** Where it goes, if not to the link in use. */
  readonly to?: Writable;
}

export interface SealWith {
  readonly scope: string;
  /** The client's own name for the message, which makes a repetition one. */
  readonly key?: string | undefined;
  /** The id of the request it answers; undefined when that turns out not to be sealed: then it is not, either. */
  readonly answers?: Promise<string | undefined>;
}

export interface SendingParts
  extends Pick<NativeShared, "names" | "seal" | "messageIdOf" | "audit" | "clock" | "instance"> {
  readonly holder: Holder;
  readonly outbox: Outbox;
  readonly tallies: Tallies;
  /** What must hold for a message to leave does not: no record, no seal key. */
  readonly onFault: (error: unknown) => void;
}

const UNSEALED: Sealed = { headers: [] };
const UNSEALED_NOW = Promise.resolve(UNSEALED);

/** What an allowed message goes through: its record, its seal, its turn. */
export class Sending {
  readonly #parts: SendingParts;

  constructor(parts: SendingParts) {
    this.#parts = parts;
  }

  send(message: Outgoing): void {
    const { outbox, tallies, clock, onFault } = this.#parts;
    const now = clock();
    const step = outbox.reserve(message.payload);
    step.to = message.to;
    if (message.durable) {
      void this.#sendDurably(step, message, now).catch(onFault);
      return;
    }
    const tally = tallies.take(message.line, message.payload.length);
    const sealed = this.#sealed(message, tally.txn, now);
    const { opening } = tally;
    sealed.catch(nothing);
    (opening ? opening.then(() => sealed) : sealed).then(
      (seal) => this.#ready(step, message, seal, tally),
      onFault,
    );
  }

  /** A record of its own, on disk before it leaves. */
  async #sendDurably(step: Step, message: Outgoing, now: EpochSeconds): Promise<void> {
    const { audit, holder, instance, tallies } = this.#parts;
    const { subject, payload, line, seal: how } = message;
    const txn = uuidv7(now * 1000);
    const draft = how && this.#draftOf(message, how, txn, now);
    const id = draft?.id ?? txn;
    const facts = { id, subject, bytes: payload.length, digest: draft?.digest ?? payloadDigest(payload) };
    const action = `${message.reply === undefined ? "publish" : "request"} ${subject}`;
    await audit.record(
      {
        ...{ kind: "decision", at: isoTimeOf(now), instance, ...holder.facts, txn, action },
        ...{ outcome: "allowed", ...identityFacts(holder.identity), rule: line.rule },
        ...{ policy: holder.grant.policy, message: facts },
      },
      true,
    );
    const seal = draft ? await this.#parts.seal(draft) : UNSEALED;
    step.run = () => tallies.confirm({ txn, root: seal.root });
    this.#ready(step, message, seal, { txn });
  }

  #sealed(message: Outgoing, txn: string, now: EpochSeconds): Promise<Sealed> {
    const { seal } = this.#parts;
    const { seal: how } = message;
    if (!how) return UNSEALED_NOW;
    const draft = this.#draftOf(message, how, txn, now);
    if (!how.answers) return seal(draft);
    return how.answers.then((id) => (id === undefined ? UNSEALED : seal({ ...draft, repliesTo: id })));
  }

  #ready(
    step: Step,
    message: Outgoing,
    seal: Sealed,
    { txn, roots }: Pick<Tally, "txn"> & Partial<Pick<Tally, "roots">>,
  ): void {
    const { clock, outbox } = this.#parts;
    if (seal === UNSEALED) {
      step.head = headOf(message, message.headers);
    } else {
      if (seal.root !== undefined) roots?.add(seal.root);
      const trace = ["traceparent", traceparentOf(txn, uuidv7(clock() * 1000))] as const;
      step.head = headOf(message, [...message.headers, ...seal.headers, trace]);
    }
    outbox.ready(step);
  }

  #draftOf(
    { subject, payload, headers }: Outgoing,
    { scope, key }: SealWith,
    txn: string,
    now: EpochSeconds,
  ): SealDraft {
    const { names, holder, messageIdOf } = this.#parts;
    const { identity, facts } = holder;
    return {
      ...names,
      ...{ txn, scope, subject, headers, user: identity.user, requestId: facts.requestId },
      digest: payloadDigest(payload),
      id: key === undefined ? uuidv7(now * 1000) : messageIdOf(identity, subject, key),
      ...(identity.actor && { actor: identity.actor.user }),
      ...(identity.acr !== undefined && { acr: identity.acr }),
      ...(identity.proof.kind === "session" && { sessionHash: identity.proof.hash }),
    };
  }
}

function headOf({ subject, reply, payload }: Outgoing, headers: HeaderList): string {
  const target = reply === undefined ? subject : `${subject} ${reply}`;
  if (headers.length === 0) return `PUB ${target} ${payload.length}\r\n`;
  let block = "NATS/1.0\r\n";
  for (const [name, value] of headers) block += `${name}: ${value}\r\n`;
  block += "\r\n";
  return `HPUB ${target} ${block.length} ${block.length + payload.length}\r\n${block}`;
}

function nothing(): void {}
