import type { JetStreamAnswer, JetStreamReply } from "./jetstream.ts";
import { jsError } from "./js-answer.ts";

/** What CONSUMER.CREATE and CONSUMER.INFO answer, as far as we look into it. */
export interface ConsumerInfo {
  readonly error?: { readonly code?: number; readonly err_code?: number; readonly description?: string };
  readonly name?: string;
  readonly config?: {
    readonly durable_name?: string;
    readonly deliver_subject?: string;
    readonly filter_subject?: string;
    readonly filter_subjects?: readonly string[];
  };
}

/** @returns undefined for an answer that is none: no one responds, or not JetStream */
export function readConsumerInfo({ payload, headerBlock }: JetStreamAnswer): ConsumerInfo | undefined {
  if (headerBlock && /^NATS\/1\.0 \d/.test(Buffer.from(headerBlock.subarray(0, 16)).toString("latin1"))) {
    return undefined;
  }
  try {
    const info: unknown = JSON.parse(Buffer.from(payload).toString("utf8"));
    return typeof info === "object" && info !== null ? (info as ConsumerInfo) : undefined;
  } catch {
    return undefined;
  }
}

/** How one client sees its consumer. */
export interface ConsumerView {
  readonly clientName: string;
  /** Its own word for a subject of its inbox. */
  readonly toClient: (subject: string) => string | undefined;
  /** Whether it may read what passes this filter; undefined = no filter. */
  readonly mayRead: (filter: string | undefined) => boolean;
}

/**
 * The information in the client's own words: its name for the consumer, its inbox; without our mark on it, and
 * without the names of servers.
 *
 * A consumer that was made under a wider policy keeps its filter, which nats-server does not compare with anything
 * when it is read: whoever may no longer read all of that is told so here.
 */
export function shownInfo(info: ConsumerInfo, view: ConsumerView): JetStreamReply {
  const { config = {} } = info;
  const filters = config.filter_subjects ?? [config.filter_subject];
  if (!filters.every((filter) => view.mayRead(filter))) {
    const description = "this consumer reads more than is granted; delete it, or have it deleted";
    const error = { code: 403, err_code: 10003, description };
    return { do: "deliver", payload: jsError("consumer_info", error) };
  }
  const deliver = config.deliver_subject && view.toClient(config.deliver_subject);
  const shown = {
    ...info,
    name: view.clientName,
    config: {
      ...config,
      name: view.clientName,
      ...(config.durable_name !== undefined && { durable_name: view.clientName }),
      ...(deliver !== undefined && { deliver_subject: deliver }),
      metadata: undefined,
    },
    cluster: undefined,
  };
  return { do: "deliver", payload: Buffer.from(JSON.stringify(shown)) };
}
