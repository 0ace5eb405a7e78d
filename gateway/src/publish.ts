import type { Admission } from "./admit.ts";
import type { AuditLog } from "./audit/record.ts";
import { createCompletions } from "./completions.ts";
import type { InboundMessage } from "./nats/connection.ts";
import type { AttemptStore } from "./once.ts";
import { createPrepare, type Message, type PrepareParts } from "./prepare.ts";
import { allowed, type Outcome, refused } from "./refusal.ts";
import { createStore, type Store } from "./store.ts";

export interface Published {
  readonly txn: string;
  readonly id: string;
  readonly subject: string;
}

/** The effect on NATS: seal, send on that identity's own connection, complete the record. */
export interface Publish {
  /** @param until  answers once it is on its way, or once nats-server has it, so that a caller sends no faster */
  publish(admission: Admission, message: Message, until?: "sent" | "received"): Promise<Outcome<Published>>;
  request(admission: Admission, message: Message, timeoutMs: number): Promise<Outcome<InboundMessage>>;
  /** As `publish`, and waits until a stream has it. */
  store: Store;
}

export interface PublishParts extends PrepareParts {
  /** What was sent under keys of its callers. */
  readonly attempts: AttemptStore;
  /** Who replied, as the reply's seal proves; undefined where it proves nobody. Never rejects. */
  readonly replierOf: (reply: InboundMessage, requestId: string) => Promise<string | undefined>;
  readonly audit: AuditLog;
  readonly instance: string;
}

export function createPublish(parts: PublishParts): Publish {
  const prepare = createPrepare(parts);
  const complete = createCompletions(parts);

  function failed(txn: string, why: RefusedOutcome, root?: string): RefusedOutcome {
    complete({ txn, outcome: "failed", why: why.refusal.reason, root });
    return why;
  }

  return {
    store: createStore({ ...parts, prepare, complete }),

    async publish(admission, message, until = "sent") {
      const { txn } = admission.facts;
      const { facts, payload } = message;
      const { subject, id } = facts;
      const prepared = await prepare(admission, message);
      if (!prepared.ok) return failed(txn, prepared);
      const { connection, headers, root } = prepared.value;
      const sent = connection.publish({ subject, payload, headers });
      if (!sent.ok) return failed(txn, sent);
      // The caller need not wait for the PONG; the record does.
      const confirmed = connection.confirm(subject);
      void confirmed.then((outcome) => complete({ txn, outcome, root }));
      const confirmation = until === "sent" ? "received" : await confirmed;
      if (confirmation === "received") return allowed({ txn, id, subject });
      return refused(
        confirmation === "unknown"
          ? { reason: "connection_lost" }
          : { reason: "nats_unavailable", why: "nats-server refused what the grant allows" },
      );
    },

    async request(admission, message, timeoutMs) {
      const { txn } = admission.facts;
      const prepared = await prepare(admission, message);
      if (!prepared.ok) return failed(txn, prepared);
      const { connection, headers, root } = prepared.value;
      const { facts, payload } = message;
      const reply = await connection.request({ subject: facts.subject, payload, headers }, timeoutMs);
      if (!reply.ok) return failed(txn, reply, root);
      // Who it was goes into the record; the caller need not wait for it.
      void parts
        .replierOf(reply.value, facts.id)
        .then((by) => complete({ txn, outcome: "replied", root, by }));
      return reply;
    },
  };
}

type RefusedOutcome = ReturnType<typeof refused>;
