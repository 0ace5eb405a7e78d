import { isIP } from "node:net";
import { uuidv7 } from "@countersign/seal";
import type { Admission, Admit, Ask, RequestFacts } from "./admit.ts";
import type { AuditLog } from "./audit/record.ts";
import { type CalloutRequest, type ConnectionType, encodeCalloutAnswer } from "./credentials/callout.ts";
import { type CalloutUser, mintCalloutUser } from "./credentials/callout-user.ts";
import type { JudgeCarried } from "./credentials/carried-user.ts";
import { type DirectCredential, isNatsJwt } from "./credentials/direct-credential.ts";
import { directPermissionsOf } from "./credentials/direct-permissions.ts";
import type { AccountSigner } from "./credentials/nats-jwt.ts";
import { parsePublicNkey } from "./credentials/nkey.ts";
import type { Identity, Presented, Proof } from "./identity/identity.ts";
import type { DirectConnections } from "./nats/direct-connections.ts";
import { formatDirectName } from "./nats/direct-name.ts";
import type { Action } from "./policy/action.ts";
import type { Grant, NatsPermissions } from "./policy/grant.ts";
import { allowed, type Outcome, type Refusal, refused } from "./refusal.ts";
import { type Clock, type EpochSeconds, isoTimeOf } from "./time.ts";

/** A credential for a client that connects by itself. */
export interface Issue {
  /** Judges a connection that nats-server asks about. @returns the signed answer; never rejects */
  callout(request: CalloutRequest): Promise<string>;
  /** Gives a caller a credential for its own key, which every connect with it is judged by anew. */
  credential(ask: CredentialAsk): Promise<Outcome<IssuedCredential>>;
}

export interface CredentialAsk {
  readonly presented: Outcome<Presented>;
  /** The caller's public user key (U…), or why there is none. */
  readonly nkey: Outcome<string>;
  readonly facts: RequestFacts;
}

export interface IssuedCredential extends DirectCredential {
  readonly inboxPrefix: string;
}

/** What direct connections may be, since nats-server does not enforce it on what a callout answers. */
export interface DirectRules {
  readonly types: ReadonlySet<ConnectionType>;
  /** Whether clients may come from this address. */
  readonly isSource: (address: string) => boolean;
  /** What the account's own limit allows; a Grant that allows less could not be kept. */
  readonly payloadBytesMax: number;
}

export interface IssueParts {
  readonly admit: Admit;
  readonly audit: AuditLog;
  readonly rules: DirectRules;
  readonly signer: AccountSigner;
  /** The account's name, where accounts stand in the server's configuration; otherwise it is the signer's. */
  readonly placement?: string;
  readonly mint: (
    identity: Identity,
    grant: Grant,
    nkey: string,
    now: EpochSeconds,
  ) => Outcome<DirectCredential>;
  readonly inboxPrefixOf: (identity: Identity, grant: Grant) => string;
  readonly directs: Pick<DirectConnections, "add">;
  /** Present where the gateway's connections for its callers come through the callout too. */
  readonly judgeCarried?: JudgeCarried;
  readonly clock: Clock;
  readonly instance: string;
}

export function createIssue(parts: IssueParts): Issue {
  const { admit, audit, rules, signer, placement, mint, inboxPrefixOf, directs, clock, instance } = parts;
  // Of a Grant with thousands of lines they take milliseconds, and its holders reconnect.
  const permissions = {
    direct: new WeakMap<Grant, NatsPermissions>(),
    mqtt: new WeakMap<Grant, NatsPermissions>(),
  };

  function permissionsFor({ identity, grant }: Admission, way: "direct" | "mqtt"): NatsPermissions {
    const known = permissions[way].get(grant);
    if (known) return known;
    const compiled = directPermissionsOf(grant, inboxPrefixOf(identity, grant), way);
    permissions[way].set(grant, compiled);
    return compiled;
  }

  function userOf(request: CalloutRequest, admission: Admission): Outcome<CalloutUser> {
    const { identity, grant } = admission;
    const way = wayOf(request.client.type);
    const now = clock();
    const user = mintCalloutUser({
      identity,
      grant,
      permissions: permissionsFor(admission, way),
      name: formatDirectName({ ...identity, instance, policy: grant.policy }),
      userNkey: request.userNkey,
      signer,
      ...(placement !== undefined && { placement }),
      now,
    });
    if (!user.ok) return user;
    const { expiresAt } = user.value;
    const added = directs.add({
      serverId: request.server.id,
      cid: request.client.id,
      identity,
      grantHash: grant.hash,
      way,
      expiresAt,
    });
    return added.ok ? user : added;
  }

  async function judge(request: CalloutRequest, facts: RequestFacts): Promise<Outcome<CalloutUser>> {
    const carried = parts.judgeCarried?.(request, clock());
    // What its callers ask for is recorded one by one; that it comes on their behalf is not.
    if (carried?.ok) return carried;
    const asked = askOf(request, facts, rules);
    const admission = await admit(carried ? { ...asked, presented: carried } : asked);
    if (!admission.ok) return admission;
    const user = userOf(request, admission.value);
    // The decision stands recorded; that nothing came of it must stand there too.
    if (!user.ok) completeFailed(facts.txn, user.refusal);
    return user;
  }

  function completeFailed(txn: string, { reason }: Refusal): void {
    audit.complete({
      kind: "completion",
      at: isoTimeOf(clock()),
      instance,
      txns: [txn],
      outcome: "failed",
      why: reason,
    });
  }

  return {
    async callout(request) {
      const facts = factsOf(request, clock());
      const user = await judge(request, facts);
      // A refusal is for the server's log and its events, where the transaction leads to the record.
      const answer = user.ok
        ? { jwt: user.value.jwt }
        : { error: `${user.refusal.reason} (txn ${facts.txn})` };
      return encodeCalloutAnswer(request, answer, signer, clock());
    },

    async credential({ presented, nkey: given, facts }) {
      const nkey = given.ok ? checkNkey(given.value) : given;
      const action: Outcome<Action> = nkey.ok ? allowed({ verb: "connect", way: "direct" }) : nkey;
      const unless = (grant: Grant) => unkeepable(grant, rules);
      const admission = await admit({ presented, action, unless, facts });
      if (!admission.ok) return admission;
      if (!nkey.ok) return nkey;
      const { identity, grant } = admission.value;
      const credential = mint(identity, grant, nkey.value, clock());
      if (!credential.ok) {
        completeFailed(facts.txn, credential.refusal);
        return credential;
      }
      return allowed({ ...credential.value, inboxPrefix: inboxPrefixOf(identity, grant) });
    },
  };
}

function checkNkey(text: string): Outcome<string> {
  return parsePublicNkey(text)?.kind === "user"
    ? allowed(text)
    : refused({ reason: "request_invalid", what: "body", why: "the checksum of this nkey is wrong" });
}

function askOf(request: CalloutRequest, facts: RequestFacts, rules: DirectRules): Ask {
  return {
    presented: presentedBy(request),
    action: allowed({ verb: "connect", way: wayOf(request.client.type) }),
    unless: (grant) => objectionTo(request, rules) ?? unkeepable(grant, rules),
    facts,
  };
}

function factsOf({ server, client }: CalloutRequest, now: EpochSeconds): RequestFacts {
  const txn = uuidv7(now * 1000);
  const connection = { server: server.id, cid: client.id, type: client.type };
  return { txn, requestId: txn, lane: "callout", remote: client.host, connection };
}

function wayOf(type: ConnectionType): "direct" | "mqtt" {
  return type === "mqtt" ? "mqtt" : "direct";
}

function objectionTo({ client }: CalloutRequest, { types, isSource }: DirectRules): Refusal | undefined {
  const { type, host } = client;
  if (!types.has(type)) return { reason: "connection_type_refused", type };
  return isIP(host) !== 0 && isSource(host) ? undefined : { reason: "source_refused", remote: host };
}

/** Limits that nats-server enforces for an account and not for one of a callout's connections, or not at all. */
function unkeepable({ limits }: Grant, { payloadBytesMax }: DirectRules): Refusal | undefined {
  if (limits.ratePerSecond !== undefined) return { reason: "limit_unenforceable", limit: "rate" };
  return limits.payloadBytes < payloadBytesMax
    ? { reason: "limit_unenforceable", limit: "payload" }
    : undefined;
}

/**
 * What the client shows for itself: a token, in whichever of its places, or a credential of ours. A NATS JWT that is
 * none of ours and comes beside nothing else (a sentinel) is the address it was sent to, and no proof.
 */
function presentedBy({ connect, client }: CalloutRequest): Outcome<Presented> {
  const { jwt = "", sig, authToken = "", password = "" } = connect;
  const proofs: Proof[] = [];
  // MQTT's password comes as a token too. Where accounts stand in its configuration, nats-server drops a JWT, so that
  // a credential comes as a token.
  for (const text of new Set([authToken, password, jwt])) {
    if (text === "") continue;
    if (!isNatsJwt(text)) proofs.push({ kind: "bearer", token: text });
    else if (sig !== undefined && client.nonce !== undefined)
      proofs.push({ kind: "credential", jwt: text, sig, nonce: client.nonce });
  }
  return allowed({
    proofs,
    method: "",
    origin: null,
    fetchSite: null,
    navigation: false,
    deliberate: true,
  });
}
