import type { SealDraft, SealingKey } from "@countersign/seal";
import type { Admission } from "./admit.ts";
import type { AuditLog, MessageFacts } from "./audit/record.ts";
import { createCompletions } from "./completions.ts";
import { messageOf } from "./errors.ts";
import type { Connection, HeaderList, InboundMessage, Pool } from "./nats/connection.ts";
import { allowed, type Outcome, refused } from "./refusal.ts";
import { createSealTurn } from "./seal-turn.ts";
import type { Clock } from "./time.ts";

/** A message as the caller gave it, checked and digested. */
export interface Message {
  /** What the record keeps of it. */
  readonly facts: MessageFacts;
  readonly payload: Uint8Array;
  /** What the caller wants to travel with it: all of it is covered by the seal. */
  readonly headers: HeaderList;
  /** W3C Trace Context, unsigned. */
  readonly traceparent?: string;
}

export interface Published {
  readonly txn: string;
  readonly id: string;
  readonly subject: string;
}

/** The effect on NATS: seal, send on that identity's own connection, complete the record. */
export interface Publish {
  publish(admission: Admission, message: Message): Promise<Outcome<Published>>;
  request(admission: Admission, message: Message, timeoutMs: number): Promise<Outcome<InboundMessage>>;
}

export interface PublishParts extends SealNames {
  readonly pool: Pool;
  /** The key in use now; undefined until one is published. */
  readonly sealingKey: () => SealingKey | undefined;
  readonly sealFormOf: (subject: string) => "tree" | "token";
  /** Who replied, as the reply's seal proves; undefined where it proves nobody. Never rejects. */
  readonly replierOf: (reply: InboundMessage, requestId: string) => Promise<string | undefined>;
  readonly audit: AuditLog;
  readonly clock: Clock;
  readonly instance: string;
}

/** What every seal of this gateway says alike. */
interface SealNames {
  /** The seal's `iss`: the public URL. */
  readonly issuer: string;
  /** The seal's `aud`: the trust domain. */
  readonly audience: string;
  /** The seal's `req_wl`: `countersign/<instance>`. */
  readonly workload: string;
}

export function createPublish(parts: PublishParts): Publish {
  const { pool } = parts;
  const seal = createSealTurn(parts);
  const complete = createCompletions(parts);

  /** What both effects begin with: the identity's connection, and the message sealed for it. */
  async function prepare(admission: Admission, message: Message): Promise<Outcome<Prepared>> {
    const { identity, grant } = admission;
    const answer = pool.connectionFor(identity, grant);
    const connection = answer instanceof Promise ? await answer : answer;
    if (!connection.ok) return connection;
    try {
      const sealed = await seal(draftOf(parts, admission, message));
      const headers = [...message.headers, ...sealed.headers];
      if (message.traceparent !== undefined) headers.push(["traceparent", message.traceparent]);
      return allowed({ connection: connection.value, headers, ...(sealed.root && { root: sealed.root }) });
    } catch (error) {
      const why = messageOf(error);
      return refused({ reason: "check_unavailable", check: "seal", why });
    }
  }

  function failed(txn: string, why: RefusedOutcome, root?: string): RefusedOutcome {
    complete({ txn, outcome: "failed", why: why.refusal.reason, root });
    return why;
  }

  return {
    async publish(admission, message) {
      const { txn } = admission.facts;
      const { facts, payload } = message;
      const { subject, id } = facts;
      const prepared = await prepare(admission, message);
      if (!prepared.ok) return failed(txn, prepared);
      const { connection, headers, root } = prepared.value;
      const sent = connection.publish({ subject, payload, headers });
      if (!sent.ok) return failed(txn, sent);
      // The caller need not wait for the PONG; the record does.
      void connection.confirm(subject).then((outcome) => complete({ txn, outcome, root }));
      return allowed({ txn, id, subject });
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

function draftOf(
  { issuer, audience, workload }: SealNames,
  { identity, line, facts }: Admission,
  message: Message,
): SealDraft {
  const { subject, digest, id } = message.facts;
  return {
    issuer,
    audience,
    workload,
    txn: facts.txn,
    user: identity.user,
    scope: line ? `${line.verb}:${line.pattern}` : "",
    subject,
    digest,
    id,
    headers: message.headers,
    requestId: facts.requestId,
    ...(identity.actor && { actor: identity.actor.user }),
    ...(identity.acr !== undefined && { acr: identity.acr }),
    ...(identity.proof.kind === "session" && { sessionHash: identity.proof.hash }),
  };
}

interface Prepared {
  readonly connection: Connection;
  readonly headers: HeaderList;
  readonly root?: string;
}

type RefusedOutcome = ReturnType<typeof refused>;
