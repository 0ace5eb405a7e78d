import type { Admission } from "./admit.ts";
import type { Done, StoredAt } from "./completions.ts";
import { Deadline } from "./deadline.ts";
import type { Connection, HeaderList, OutboundMessage, Pool } from "./nats/connection.ts";
import type { StreamAnswer } from "./nats/stream-answer.ts";
import { createOnce, fingerprintOf, type OnceParts, type Sent } from "./once.ts";
import type { Message, Prepare } from "./prepare.ts";
import { allowed, type Outcome, type Refusal, refused } from "./refusal.ts";

/** What a caller asks of a stream besides keeping the message. */
export interface Storing {
  /** The stream that has to take it, and no other. */
  readonly stream: string;
  /** By when the caller wants to know. */
  readonly timeoutMs: number;
  /** Preconditions, by NATS's own names. */
  readonly preconditions: HeaderList;
  /** Whether the message's id was derived from a key of the caller's: a retry is answered as the first was. */
  readonly keyed: boolean;
}

/** A message that a stream has. */
export interface Stored extends StoredAt {
  readonly txn: string;
  readonly id: string;
  readonly subject: string;
}

/**
 * The effect on a stream: seal, send on that identity's own connection, wait until the stream has it, complete the
 * record. What passes by itself (a leader that is elected, a connection that is made anew) is waited for: the message is
 * sent again under its id, which the stream takes once, until the deadline.
 *
 * @returns `outcome_unknown` when a stream may have it or not; with every other refusal none has it
 */
export type Store = (admission: Admission, message: Message, storing: Storing) => Promise<Outcome<Stored>>;

/** First wait for an acknowledgement before the message is sent again; doubled each time. A stream takes milliseconds. */
const ACKNOWLEDGED_WITHIN_MS = 2_000;
/** First pause after an answer that passes by itself, and the longest; doubled in between. An election takes 4–5 s. */
const PAUSE_MIN_MS = 50;
const PAUSE_MAX_MS = 1_000;

export interface StoreParts extends OnceParts {
  readonly pool: Pool;
  readonly prepare: Prepare;
  readonly complete: (done: Done) => void;
}

export function createStore({ pool, prepare, complete, ...onceParts }: StoreParts): Store {
  const once = createOnce(onceParts);

  async function send(
    admission: Admission,
    message: Message,
    storing: Storing,
    deadline: Deadline,
  ): Promise<Sent> {
    const prepared = await prepare(admission, message);
    if (!prepared.ok) return { outcome: prepared };
    const { connection, headers, root } = prepared.value;
    const outbound = {
      subject: message.facts.subject,
      payload: message.payload,
      headers: [...headers, ["Nats-Expected-Stream", storing.stream] as const, ...storing.preconditions],
    };
    return { outcome: await deliver(connection, outbound, storing, deadline), root };
  }

  /** Once for all requests under its key, where it has one. */
  function sendAsAsked(
    admission: Admission,
    message: Message,
    storing: Storing,
    deadline: Deadline,
  ): Promise<Sent> {
    const now = (): Promise<Sent> => send(admission, message, storing, deadline);
    if (!storing.keyed) return now();
    const { id, digest } = message.facts;
    const { timeoutMs, stream, preconditions } = storing;
    const fingerprint = fingerprintOf(digest, message.headers, stream, preconditions);
    return once({ id, txn: admission.facts.txn, fingerprint, timeoutMs }, deadline, now);
  }

  return async function store(admission, message, storing) {
    const { txn } = admission.facts;
    const { id, subject } = message.facts;
    // Between two attempts nothing is under way on the connection, and it must not idle out.
    const letGo = pool.hold(admission.identity, admission.grant);
    const deadline = new Deadline(storing.timeoutMs);
    try {
      const { outcome, root } = await sendAsAsked(admission, message, storing, deadline);
      if (outcome.ok) complete({ txn, outcome: "stored", stored: outcome.value, root });
      else complete({ txn, outcome: fateOf(outcome.refusal), why: outcome.refusal.reason, root });
      return outcome.ok ? allowed({ txn, id, subject, ...outcome.value }) : outcome;
    } finally {
      deadline.end();
      letGo();
    }
  };
}

function fateOf({ reason }: Refusal): "unknown" | "failed" {
  return reason === "outcome_unknown" ? "unknown" : "failed";
}

/** Sends until the stream has said something that lasts, or the deadline passes. */
async function deliver(
  connection: Connection,
  message: OutboundMessage,
  { stream, timeoutMs }: Storing,
  deadline: Deadline,
): Promise<Outcome<StoredAt>> {
  const unknown = refused({ reason: "outcome_unknown", timeoutMs });
  // Whether a stream may have one that was sent before.
  let inDoubt = false;
  for (let count = 0; ; count += 1) {
    const answer = await deadline.within(connection.store(message, ACKNOWLEDGED_WITHIN_MS * 2 ** count));
    if (answer === undefined) return unknown;
    const attempt = judge(answer, { stream, subject: message.subject });
    if (attempt.kind === "stored") {
      const { at } = attempt;
      // That it is there already is no news of what was sent a moment ago.
      return allowed({ ...at, duplicate: at.duplicate && !inDoubt });
    }
    if (attempt.kind === "refused") return refused(attempt.refusal);
    inDoubt ||= attempt.mayHaveIt;
    const isAlone = attempt.refusal.reason === "no_stream" && connection.standalone;
    if (!isAlone) await deadline.pause(Math.min(PAUSE_MAX_MS, PAUSE_MIN_MS * 2 ** count));
    if (isAlone || connection.over || deadline.passed) return inDoubt ? unknown : refused(attempt.refusal);
  }
}

/** What one attempt has brought. */
type Attempt =
  | { readonly kind: "stored"; readonly at: StoredAt }
  /** It lasts: to send again changes nothing. */
  | { readonly kind: "refused"; readonly refusal: Refusal }
  /** It passes by itself. */
  | { readonly kind: "again"; readonly refusal: Refusal; readonly mayHaveIt: boolean };

interface Wanted {
  readonly stream: string;
  readonly subject: string;
}

function judge(answer: Outcome<StreamAnswer>, wanted: Wanted): Attempt {
  if (answer.ok)
    return answer.value.stored ? judgeStored(answer.value, wanted) : judgeError(answer.value, wanted);
  const { refusal } = answer;
  switch (refusal.reason) {
    case "timeout":
    case "connection_lost":
      return { kind: "again", refusal, mayHaveIt: true };
    case "no_responders":
      return { kind: "again", refusal: { reason: "no_stream", ...wanted }, mayHaveIt: false };
    case "nats_unavailable":
    case "capacity_exceeded":
      return { kind: "again", refusal, mayHaveIt: false };
    default:
      return { kind: "refused", refusal };
  }
}

/** The stream was named in the message, so that no other takes it; an answer in another's name is not its own. */
function judgeStored({ stream, sequence, duplicate }: StoredAt, wanted: Wanted): Attempt {
  if (stream !== wanted.stream) return { kind: "refused", refusal: { reason: "stream_mismatch", ...wanted } };
  return { kind: "stored", at: { stream, sequence, duplicate } };
}

/** nats-server's numbers (server/errors.json). */
const WRONG_STREAM = 10060;
const WRONG_LAST_MESSAGE_ID = 10070;
const WRONG_LAST_SEQUENCE = 10071;
const WRONG_LAST_SEQUENCE_UNKNOWN = 10164;
/** One under the same id is being stored: what comes of it, the next attempt learns. */
const DUPLICATE_IN_PROCESS = 10158;

function judgeError(
  { status, code, description }: Extract<StreamAnswer, { readonly stored: false }>,
  wanted: Wanted,
): Attempt {
  switch (code) {
    case WRONG_STREAM:
      return { kind: "refused", refusal: { reason: "stream_mismatch", ...wanted } };
    case WRONG_LAST_SEQUENCE:
    case WRONG_LAST_SEQUENCE_UNKNOWN: {
      const last = /: (\d{1,15})$/.exec(description)?.[1];
      const why = `the last sequence is ${last === undefined ? "another one" : last}`;
      const refusal = { reason: "precondition_failed", why } as const;
      return { kind: "refused", refusal: last === undefined ? refusal : { ...refusal, last: Number(last) } };
    }
    case WRONG_LAST_MESSAGE_ID:
      return {
        kind: "refused",
        refusal: { reason: "precondition_failed", why: "the last message has another id" },
      };
    default: {
      const refusal = { reason: "stream_refused", stream: wanted.stream, code, why: description } as const;
      const passes = status === 503 || code === DUPLICATE_IN_PROCESS;
      return passes ? { kind: "again", refusal, mayHaveIt: false } : { kind: "refused", refusal };
    }
  }
}
