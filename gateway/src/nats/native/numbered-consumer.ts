import { randomUUID } from "node:crypto";
import { type ConsumerView, readConsumerInfo, shownInfo } from "./consumer-info.ts";
import type { ConsumerNames, HeldConsumer, Listener } from "./consumer-names.ts";
import type { ConsumerRequest } from "./consumer-request.ts";
import type { JetStreamReply, JetStreamStep } from "./jetstream.ts";
import { JS_ERRORS, jsError } from "./js-answer.ts";

/** How long a numbered consumer outlives its reader: what stock clients ask for, five minutes. */
const INACTIVE_NANOSECONDS_MAX = 300_000_000_000;
const INACTIVE_NANOSECONDS_MIN = 1_000_000_000;
/** How often one that is pushed to gives a sign of life. A client that reconnects has another inbox, and learns only
 *  by the lack of two of them that it must create its consumer anew: clients ask for 30 s and would wait for 60. */
const HEARTBEAT_NANOSECONDS_MAX = 5_000_000_000;
/** What makes the settings of no two consumers equal: equal ones are the same consumer to JetStream. */
const MARK = "countersign";
const NOTHING = new Uint8Array(0);

/** JetStream's ways of saying that the number is somebody else's. */
const TAKEN: ReadonlySet<number | undefined> = new Set<number | undefined>([
  JS_ERRORS.consumerExists.err_code,
  JS_ERRORS.consumerNameInUse.err_code,
]);

export interface NumberedConsumer {
  readonly stream: string;
  readonly request: ConsumerRequest;
  /** What it reads: one filter, which the subject of the request names too. */
  readonly filter: string;
  /** Where it is pushed to, as NATS knows it; absent = pull. */
  readonly deliverSubject?: string;
  readonly names: ConsumerNames;
  readonly view: Omit<ConsumerView, "clientName">;
  /** Of a push consumer. */
  readonly listener?: Listener;
}

/**
 * Creates a consumer under one of the identity's numbers: a free one; the next, while another connection or instance
 * has it; at last one whose client listens no more.
 *
 * @returns undefined when all are in use
 */
export function createNumbered(consumer: NumberedConsumer): JetStreamStep | undefined {
  const { stream, request, names, listener } = consumer;
  if (request.name !== undefined) names.release(stream, request.name);
  let untried = names.freeCount(stream);

  function next(): JetStreamStep | undefined {
    const free = untried-- > 0 ? names.take(stream, request.name, listener) : undefined;
    if (free) return create(free);
    const idle = names.takeOver(stream, request.name, listener);
    return idle && deleteFirst(idle);
  }

  function create(held: HeldConsumer): JetStreamStep {
    return {
      subject: `$JS.API.CONSUMER.CREATE.${stream}.${held.name}.${consumer.filter}`,
      payload: Buffer.from(JSON.stringify(createRequest(consumer, held.name))),
      onReply: (answer) => created(held, readConsumerInfo(answer)),
    };
  }

  function created(held: HeldConsumer, info: ReturnType<typeof readConsumerInfo>): JetStreamReply {
    if (info && !info.error) return shownInfo(info, { ...consumer.view, clientName: held.clientName });
    names.release(stream, held.clientName);
    if (!TAKEN.has(info?.error?.err_code)) return { do: "pass" };
    const step = next();
    return step ? { do: "ask", ...step } : { do: "deliver", payload: tooMany() };
  }

  function deleteFirst(held: HeldConsumer): JetStreamStep {
    const subject = `$JS.API.CONSUMER.DELETE.${stream}.${held.name}`;
    // It may be gone already; whether its number is free now, creating it says.
    return { subject, payload: NOTHING, onReply: () => ({ do: "ask", ...create(held) }) };
  }

  return next();
}

/** What the client is told when all its numbers are in use. */
export function tooMany(): Uint8Array {
  return jsError("consumer_create", JS_ERRORS.consumersExceeded);
}

function createRequest({ stream, request, filter, deliverSubject }: NumberedConsumer, name: string): object {
  const { inactive_threshold, idle_heartbeat, ...settings } = request.settings;
  const inactive = Number(inactive_threshold ?? INACTIVE_NANOSECONDS_MAX);
  const heartbeat = Math.min(Number(idle_heartbeat ?? 0), HEARTBEAT_NANOSECONDS_MAX);
  return {
    stream_name: stream,
    action: "create",
    config: {
      ...settings,
      name,
      filter_subject: filter,
      ...(deliverSubject !== undefined && { deliver_subject: deliverSubject }),
      ...(heartbeat > 0 && { idle_heartbeat: heartbeat }),
      inactive_threshold: Math.min(Math.max(inactive, INACTIVE_NANOSECONDS_MIN), INACTIVE_NANOSECONDS_MAX),
      num_replicas: 1,
      mem_storage: true,
      metadata: { [MARK]: randomUUID() },
    },
  };
}
