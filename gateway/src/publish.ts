import { type SealDraft, type SealedHeaders, type SealingKey, sealToken, sealTree } from "@countersign/seal";
import type { Admission } from "./admit.ts";
import type { AuditCompletion, AuditLog, MessageFacts } from "./audit/record.ts";
import { messageOf } from "./errors.ts";
import type { Connection, HeaderList, InboundMessage, Pool } from "./nats/connection.ts";
import { allowed, type Outcome, refused } from "./refusal.ts";
import { type Clock, isoTimeOf } from "./time.ts";
import { createTurn } from "./turn.ts";

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

/** Leaves of one tree at most: the sweet spot of signing cost against path length lies well below. */
const TREE_LEAVES_MAX = 256;

/** Keeps a completion's line under 64 KiB: a txn is 36 characters. */
const TXNS_PER_COMPLETION_MAX = 1_000;

export function createPublish({
  pool,
  issuer,
  audience,
  workload,
  sealingKey,
  sealFormOf,
  audit,
  clock,
  instance,
}: {
  readonly pool: Pool;
  /** The seal's `iss`: the public URL. */
  readonly issuer: string;
  /** The seal's `aud`: the trust domain. */
  readonly audience: string;
  /** The seal's `req_wl`: `countersign/<instance>`. */
  readonly workload: string;
  /** The key in use now; undefined until one is published. */
  readonly sealingKey: () => SealingKey | undefined;
  readonly sealFormOf: (subject: string) => "tree" | "token";
  readonly audit: AuditLog;
  readonly clock: Clock;
  readonly instance: string;
}): Publish {
  // Messages come here when the turn's record has been written, all of them at once.
  const intoTree = createTurn<Waiting>(sealTogether, { batchMax: TREE_LEAVES_MAX, after: "wave" });
  const intoCompletion = createTurn<Done>(completeTogether, { batchMax: TXNS_PER_COMPLETION_MAX });

  /** One signature for all messages of a turn. A missing key or a failing signature refuses them all. */
  function sealTogether(waiting: readonly Waiting[]): void {
    try {
      const key = sealingKey();
      if (!key) throw new Error("no seal key is published yet");
      const { seals, root } = sealTree(
        key,
        waiting.map(({ draft }) => draft),
        clock(),
      );
      for (const [index, { sealed }] of waiting.entries()) sealed(seals[index], root);
    } catch (error) {
      for (const { failed } of waiting) failed(error);
    }
  }

  function seal(draft: SealDraft): Promise<Sealed> {
    if (sealFormOf(draft.subject) === "tree") {
      return new Promise((resolve, reject) => {
        intoTree({
          draft,
          sealed: (headers, root) =>
            headers ? resolve({ headers, root }) : reject(new Error("no seal for a leaf")),
          failed: reject,
        });
      });
    }
    const key = sealingKey();
    if (!key) return Promise.reject(new Error("no seal key is published yet"));
    return Promise.resolve({ headers: sealToken(key, draft, clock()) });
  }

  /** What both effects begin with: the identity's connection, and the message sealed for it. */
  async function prepare(admission: Admission, message: Message): Promise<Outcome<Prepared>> {
    const { identity, grant } = admission;
    const answer = pool.connectionFor(identity, grant);
    const connection = answer instanceof Promise ? await answer : answer;
    if (!connection.ok) return connection;
    try {
      const sealed = await seal(draftOf(admission, message));
      const headers = [...message.headers, ...sealed.headers];
      if (message.traceparent !== undefined) headers.push(["traceparent", message.traceparent]);
      return allowed({ connection: connection.value, headers, ...(sealed.root && { root: sealed.root }) });
    } catch (error) {
      const why = messageOf(error);
      return refused({ reason: "check_unavailable", check: "seal", why });
    }
  }

  function draftOf({ identity, line, facts }: Admission, message: Message): SealDraft {
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

  async function publish(admission: Admission, message: Message): Promise<Outcome<Published>> {
    const { txn } = admission.facts;
    const { facts, payload } = message;
    const { subject, id } = facts;
    const prepared = await prepare(admission, message);
    if (!prepared.ok) return failed(txn, prepared);
    const { connection, headers, root } = prepared.value;
    const sent = connection.publish({ subject, payload, headers });
    if (!sent.ok) return failed(txn, sent);
    // The caller need not wait for the PONG; the record does.
    void connection.confirm(subject).then((outcome) => intoCompletion({ txn, outcome, ...rootOf(root) }));
    return allowed({ txn, id, subject });
  }

  async function request(
    admission: Admission,
    message: Message,
    timeoutMs: number,
  ): Promise<Outcome<InboundMessage>> {
    const { txn } = admission.facts;
    const prepared = await prepare(admission, message);
    if (!prepared.ok) return failed(txn, prepared);
    const { connection, headers, root } = prepared.value;
    const { facts, payload } = message;
    const reply = await connection.request({ subject: facts.subject, payload, headers }, timeoutMs);
    if (!reply.ok) return failed(txn, reply, root);
    intoCompletion({ txn, outcome: "replied", ...rootOf(root) });
    return reply;
  }

  function failed(txn: string, why: RefusedOutcome, root?: string): RefusedOutcome {
    intoCompletion({ txn, outcome: "failed", why: why.refusal.reason, ...rootOf(root) });
    return why;
  }

  /** What fared alike in one turn is completed by one line. */
  function completeTogether(done: readonly Done[]): void {
    const alike = Map.groupBy(done, ({ outcome, why, root }) => `${outcome} ${why ?? ""} ${root ?? ""}`);
    const at = isoTimeOf(clock());
    for (const [first, ...rest] of alike.values()) {
      if (!first) continue;
      const { txn, ...how } = first;
      audit.complete({
        kind: "completion",
        at,
        instance,
        txns: [txn, ...rest.map((other) => other.txn)],
        ...how,
      });
    }
  }

  return { publish, request };
}

interface Waiting {
  readonly draft: SealDraft;
  readonly sealed: (headers: SealedHeaders | undefined, root: string) => void;
  readonly failed: (error: unknown) => void;
}

interface Sealed {
  readonly headers: SealedHeaders;
  /** The tree's root, base64url; absent for a token. */
  readonly root?: string;
}

interface Prepared {
  readonly connection: Connection;
  readonly headers: HeaderList;
  readonly root?: string;
}

type Done = { readonly txn: string } & Pick<AuditCompletion, "outcome" | "why" | "root">;

function rootOf(root: string | undefined): { root?: string } {
  return root === undefined ? {} : { root };
}

type RefusedOutcome = ReturnType<typeof refused>;
