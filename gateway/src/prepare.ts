import type { SealDraft, SealingKey } from "@countersign/seal";
import type { Admission } from "./admit.ts";
import type { MessageFacts } from "./audit/record.ts";
import { messageOf } from "./errors.ts";
import type { Connection, HeaderList, Pool } from "./nats/connection.ts";
import { sealScopeOf } from "./policy/scope.ts";
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

/** A message ready to leave, and the way it leaves by. */
export interface Prepared {
  readonly connection: Connection;
  readonly headers: HeaderList;
  /** Of the tree that seals it. */
  readonly root?: string;
}

/** What every effect begins with: the identity's connection, and the message sealed for it. */
export type Prepare = (admission: Admission, message: Message) => Promise<Outcome<Prepared>>;

/** What every seal of this gateway says alike. */
interface SealNames {
  /** The seal's `iss`: the public URL. */
  readonly issuer: string;
  /** The seal's `aud`: the trust domain. */
  readonly audience: string;
  /** The seal's `req_wl`: `countersign/<instance>`. */
  readonly workload: string;
}

export interface PrepareParts extends SealNames {
  readonly pool: Pool;
  /** The key in use now; undefined until one is published. */
  readonly sealingKey: () => SealingKey | undefined;
  readonly sealFormOf: (subject: string) => "tree" | "token";
  readonly clock: Clock;
}

export function createPrepare(parts: PrepareParts): Prepare {
  const { pool } = parts;
  const seal = createSealTurn(parts);

  return async function prepare(admission, message) {
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
    scope: line ? sealScopeOf(line) : "",
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
