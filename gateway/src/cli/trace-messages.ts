import { SealError, type Verifier } from "@countersign/seal";
import type { NatsConnection } from "@nats-io/transport-node";
import type { AuditCollector, TraceWindow } from "../iis/audit-collector.ts";
import type { DecisionEvent, MessageEvent } from "../iis/trace-events.ts";
import type { TraceSelector } from "../iis/trace-selector.ts";
import { AUDIT_STREAM } from "../nats/control-streams.ts";
import { readHistory, type StoredMessage, streamsOf } from "../nats/stream-history.ts";

/** Messages that one trace keeps, and looks through for them. */
const MESSAGES_MAX = 10_000;
const LOOKED_THROUGH_MAX = 1_000_000;
/** A message reaches its stream within the retries of one request; clocks differ. */
const BEFORE_MS = 5_000;
const AFTER_MS = 120_000;

/** Reads the audit log that the gateway keeps in its own account. */
export async function readAuditStream(
  connection: NatsConnection,
  { sinceMs, untilMs }: TraceWindow,
  collector: AuditCollector,
  signal: AbortSignal,
): Promise<void> {
  await readHistory(connection, {
    stream: AUDIT_STREAM,
    ...(sinceMs !== undefined && { sinceMs: sinceMs - BEFORE_MS }),
    ...(untilMs !== undefined && { untilMs: untilMs + AFTER_MS }),
    signal,
    onMessage({ message: { payload } }) {
      collector.read(Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength));
      collector.end();
      return true;
    },
  });
}

export interface FoundMessages {
  readonly messages: readonly MessageEvent[];
  readonly truncated: boolean;
}

/** What of its messages lies in streams, each with what its seal proves. */
export async function readMessages(
  connection: NatsConnection,
  wanted: {
    readonly selector: TraceSelector;
    readonly decisions: readonly DecisionEvent[];
    readonly window: TraceWindow;
    readonly verify: Verifier;
    readonly signal: AbortSignal;
  },
): Promise<FoundMessages> {
  const { selector, decisions, verify, signal } = wanted;
  const isWanted = wantedOf(selector, decisions);
  const messages: MessageEvent[] = [];
  let looked = 0;
  for (const { subject, window } of placesOf(wanted)) {
    for (const stream of await streamsOf(connection, subject)) {
      const found: StoredMessage[] = [];
      await readHistory(connection, {
        ...{ stream, subject, ...window, signal },
        onMessage(stored) {
          looked += 1;
          if (isWanted(stored)) found.push(stored);
          return looked < LOOKED_THROUGH_MAX && messages.length + found.length < MESSAGES_MAX;
        },
      });
      for (const stored of found) messages.push(await judged(stored, verify));
    }
  }
  return { messages, truncated: looked >= LOOKED_THROUGH_MAX || messages.length >= MESSAGES_MAX };
}

interface Place {
  readonly subject: string;
  readonly window: TraceWindow;
}

/** Where the messages of a trace may lie: its subject, or those that its decisions were about, around their time. */
function placesOf({
  selector,
  decisions,
  window,
}: Pick<Parameters<typeof readMessages>[1], "selector" | "decisions" | "window">): readonly Place[] {
  if (selector.kind === "subject") return [{ subject: selector.text, window }];
  const times = new Map<string, number[]>();
  for (const { record, atMs } of decisions) {
    if (record.message === undefined || record.outcome === "refused") continue;
    const { subject } = record.message;
    times.set(subject, [...(times.get(subject) ?? []), atMs]);
  }
  return [...times].map(([subject, at]) => ({
    subject,
    window: { sinceMs: Math.min(...at) - BEFORE_MS, untilMs: Math.max(...at) + AFTER_MS },
  }));
}

function wantedOf(
  { kind }: TraceSelector,
  decisions: readonly DecisionEvent[],
): (stored: StoredMessage) => boolean {
  if (kind === "subject") return () => true;
  const ids = new Set(decisions.flatMap(({ record: { message } }) => message?.id ?? []));
  return (stored) => ids.has(idOf(stored) ?? "");
}

function idOf({ message }: StoredMessage): string | undefined {
  return message.headers.find(([name]) => name === "Nats-Msg-Id")?.[1];
}

async function judged(stored: StoredMessage, verify: Verifier): Promise<MessageEvent> {
  const { stream, sequence, atMs, message } = stored;
  const { subject, headers, payload } = message;
  const event = { source: "message", atMs, stream, sequence, subject, id: idOf(stored) } as const;
  try {
    const { sender, txn, id, claims } = await verify({ subject, headers, payload, brokerTime: atMs / 1000 });
    const { user, actor } = sender;
    const requestId = claims.rctx.rid;
    return {
      ...event,
      seal: { verified: true, user, ...(actor !== undefined && { actor }), txn, id, requestId },
    };
  } catch (error) {
    if (!(error instanceof SealError)) throw error;
    return { ...event, seal: { verified: false, code: error.code } };
  }
}
