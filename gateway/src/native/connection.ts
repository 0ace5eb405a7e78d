import { randomBytes } from "node:crypto";
import { uuidv7 } from "@countersign/seal";
import { type Admission, identityFacts } from "../admit.ts";
import type { Identity } from "../identity/identity.ts";
import type { NotBeforeKey } from "../identity/session.ts";
import { ClientOutput } from "../nats/native/client-output.ts";
import {
  type ClientFault,
  type ClientHandler,
  ClientParser,
  type ClientPublish,
} from "../nats/native/client-parser.ts";
import type { ClientWire } from "../nats/native/client-wire.ts";
import { type ConnectOptions, parseConnect } from "../nats/native/connect-options.ts";
import { infoLine } from "../nats/native/info.ts";
import { errLine } from "../nats/native/server-words.ts";
import { TIMER_MS_MAX } from "../nats/renew-when.ts";
import { decide } from "../policy/decide.ts";
import type { Grant } from "../policy/grant.ts";
import { allowed, type Outcome, type Refusal, refused } from "../refusal.ts";
import type { EndCode } from "../subscribe.ts";
import { type EpochSeconds, isoTimeOf } from "../time.ts";
import type { Arrival, Holder, NativeClient, NativeParts } from "./context.ts";
import { Session } from "./session.ts";

/** What a connection tells whoever counts it. */
export interface ConnectionHost {
  /** The proof has been found good: takes its place among its holder's connections. */
  readonly seat: (admission: Admission) => Outcome<void>;
  readonly neverBegan: (txn: string, refusal: Refusal) => void;
  readonly onOver: () => void;
}

/** From the 101 to CONNECT: nats.js sends it at once, and who holds back wants a place for nothing. */
const CONNECT_WITHIN_MS = 10_000;
/** A CONNECT line without its token. */
const CONNECT_BYTES_MAX = 4_096;
/** Before INFO says what the grant allows, a client is told no more than every server takes. */
const UNKNOWN_PAYLOAD_BYTES_MAX = 1024 * 1024;

/** The last words to a client, by why its connection ends; as nats-server's own, so that it knows what to do. */
const LAST_WORDS: Readonly<Partial<Record<EndCode, string>>> = {
  expired: "User Authentication Expired",
  logout: "User Authentication Revoked",
  policy: "User Authentication Revoked",
  slow_reader: "Slow Consumer",
};

/** One client's connection, from its first byte to its last. */
export class NativeConnection implements ClientHandler, NativeClient {
  readonly #parts: NativeParts;
  readonly #arrival: Arrival;
  readonly #wire: ClientWire;
  readonly #host: ConnectionHost;
  readonly #output: ClientOutput;
  readonly #parser: ClientParser;
  /** Names it below the identity's inbox, the same in every renewal. */
  readonly #name = randomBytes(9).toString("base64url");
  #holder: Holder | undefined;
  #session: Session | undefined;
  #connecting = false;
  /** Since that was last asked. */
  #used = false;
  #timer: NodeJS.Timeout | undefined;
  #over = false;

  constructor(parts: NativeParts, arrival: Arrival, wire: ClientWire, host: ConnectionHost) {
    this.#parts = parts;
    this.#arrival = arrival;
    this.#wire = wire;
    this.#host = host;
    this.#output = new ClientOutput(wire);
    this.#parser = new ClientParser(this, { connectBytesMax: CONNECT_BYTES_MAX + parts.tokenBytesMax });
  }

  /** Greets as nats-server does. Nothing is dialled for a client that has not spoken. */
  begin(): void {
    const info = this.#parts.greeting();
    if (!info) return void this.end("unavailable");
    const known = this.#arrival.admission?.grant.limits.payloadBytes;
    this.#output.write(infoLine(info, known ?? UNKNOWN_PAYLOAD_BYTES_MAX));
    this.#timer = setTimeout(() => this.#refuseUnproved("no CONNECT in time"), CONNECT_WITHIN_MS).unref();
  }

  feed(chunk: Buffer): void {
    if (!this.#over) this.#parser.feed(chunk);
  }

  get hasConnected(): boolean {
    return this.#connecting;
  }

  drained(): void {
    this.#session?.drained();
  }

  closed(): void {
    void this.end("closed");
  }

  connect(json: string): void {
    const isFirst = !this.#connecting;
    this.#connecting = true;
    const options = parseConnect(json);
    // A second one would be another user's on the same subscriptions. And what is sealed has headers.
    if (!isFirst || !options?.headers) {
      this.fault(isFirst && options ? "Invalid Client Protocol" : "Unknown Protocol Operation");
      return;
    }
    // What the client says next is taken once there is somewhere for it to go.
    this.#wire.pause();
    this.#parser.pause();
    clearTimeout(this.#timer);
    void this.#connect(options).catch(() => this.end("unavailable"));
  }

  publish(publish: ClientPublish): void {
    this.#used = true;
    if (this.#session) this.#session.publish(publish);
    else this.#refuseUnproved("a command before CONNECT");
  }

  subscribe(subject: string, queue: string | undefined, sid: string): void {
    this.#used = true;
    if (this.#session) this.#session.subscribe(subject, queue, sid);
    else this.#refuseUnproved("a command before CONNECT");
  }

  /** @returns the hash of the session that was used since this was last asked, if it is one's connection */
  takeUsed(): string | undefined {
    const proof = this.#used ? this.#holder?.identity.proof : undefined;
    this.#used = false;
    return proof?.kind === "session" ? proof.hash : undefined;
  }

  unsubscribe(sid: string, max: number | undefined): void {
    if (this.#session) this.#session.unsubscribe(sid, max);
    else this.#refuseUnproved("a command before CONNECT");
  }

  ping(): void {
    if (this.#session) this.#session.ping();
    else this.#refuseUnproved("a command before CONNECT");
  }

  pong(): void {}

  fault(fault: ClientFault): void {
    if (!this.#connecting) {
      this.#refuseUnproved(fault);
      return;
    }
    this.#recordRefused({ reason: "request_invalid", what: "NATS protocol", why: fault });
    this.#output.write(errLine(fault));
    void this.end("closed");
  }

  isMeant(key: NotBeforeKey, at: EpochSeconds): boolean {
    const identity = this.#holder?.identity ?? this.#arrival.admission?.identity;
    if (!identity || identity.provedAt > at) return false;
    if (key.user === undefined) return key.session === identity.proof.hash;
    return key.user === identity.user || key.user === identity.actor?.user;
  }

  regrant(grantOf: (identity: Identity) => Grant | undefined): void {
    const holder = this.#holder;
    if (!holder) return;
    const grant = grantOf(holder.identity);
    if (!grant || !mayConnect(grant)) return void this.end("policy");
    if (this.#session) this.#session.regrant(grant);
    else holder.grant = grant;
    this.#endInTime(holder);
  }

  /** Fulfils when what was taken from the client has left. */
  async end(why: EndCode): Promise<void> {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#timer);
    const words = LAST_WORDS[why];
    this.#output.end(words === undefined ? "" : errLine(words));
    const finished = this.#session?.finish();
    this.#wire.close();
    this.#complete(why);
    this.#host.onOver();
    await finished;
  }

  async #connect(options: ConnectOptions): Promise<void> {
    const admission = await this.#admit(options);
    if (this.#over) return;
    if (!admission.ok) return this.#refuseProof();
    const { identity, facts } = admission.value;
    // Since it was judged, its record was written: what a sign-out or another policy ended meanwhile, nothing else ends.
    const revocation = this.#parts.revocationOf(identity);
    const grant = this.#parts.grantOf(identity);
    if (revocation || !grant || !mayConnect(grant)) {
      this.#recordRefused(revocation ?? { reason: "not_granted", action: "connect native" });
      this.#refuseProof();
      return;
    }
    const seated = this.#host.seat(admission.value);
    if (!seated.ok) {
      this.#output.write(errLine("maximum connections exceeded"));
      return void this.end("closed");
    }
    const holder: Holder = { identity, grant, facts };
    this.#holder = holder;
    this.#endInTime(holder);
    const dialLink = this.#parts.dialLinkOf({
      ...{ identity, options, connection: this.#name },
      grant: () => holder.grant,
    });
    const first = await dialLink({});
    if (!first.ok) return void this.end("unavailable");
    if (this.#over) return first.value.destroy();
    this.#session = new Session({
      ...{ shared: this.#parts, holder, options, first: first.value, dialLink },
      nextExpiry: () => this.#parts.nextExpiry(identity, holder.grant),
      ...{ wire: this.#wire, output: this.#output, parser: this.#parser },
      onOver: (why) => void this.end(why),
    });
    // The policy was replaced while it was being dialled.
    if (holder.grant.hash !== grant.hash) this.#session.renew();
    this.#wire.resume();
    this.#parser.resume();
  }

  /** What CONNECT brings counts beside what the upgrade brought, and both must be the same user's. */
  async #admit({ token }: ConnectOptions): Promise<Outcome<Admission>> {
    const { admission, presented, facts } = this.#arrival;
    if (admission && token === undefined) return allowed(admission);
    if (token !== undefined && token.length > this.#parts.tokenBytesMax)
      return refused({ reason: "proof_invalid", why: "a token over the size limit" });
    const proofs = [
      ...presented.proofs,
      ...(token === undefined ? [] : [{ kind: "bearer" as const, token }]),
    ];
    const action = allowed({ verb: "connect" as const, way: "native" as const });
    return await this.#parts.admit({ presented: allowed({ ...presented, proofs }), action, facts });
  }

  #endInTime({ identity, grant }: Holder): void {
    clearTimeout(this.#timer);
    const endsAt = Math.min(identity.expiresAt, grant.until ?? Number.POSITIVE_INFINITY);
    const endsInMs = Math.max(0, (endsAt - this.#parts.clock()) * 1000);
    this.#timer = setTimeout(() => void this.end("expired"), Math.min(endsInMs, TIMER_MS_MAX)).unref();
  }

  #refuseProof(): void {
    this.#output.write(errLine("Authorization Violation"));
    void this.end("closed");
  }

  /** Nothing has judged it, and so nothing has recorded it. */
  #refuseUnproved(why: string): void {
    this.#recordRefused({ reason: "proof_missing", why });
    this.#refuseProof();
  }

  /** The connection ends with it, whether the record can be written or not. */
  #recordRefused(refusal: Refusal): void {
    const { audit, clock, instance } = this.#parts;
    const { facts, admission } = this.#arrival;
    const identity = this.#holder?.identity ?? admission?.identity;
    const now = clock();
    audit
      .record({
        ...{ kind: "decision", at: isoTimeOf(now), instance, ...facts, txn: uuidv7(now * 1000) },
        ...{ action: "connect native", outcome: "refused", refusal },
        ...(identity && identityFacts(identity)),
      })
      .catch(() => {});
  }

  /** Of one that was allowed: how it ended. */
  #complete(why: EndCode): void {
    const { audit, clock, instance } = this.#parts;
    const txn = this.#holder?.facts.txn ?? this.#arrival.admission?.facts.txn;
    if (txn === undefined) return;
    const messages = this.#session?.delivered ?? 0;
    const at = isoTimeOf(clock());
    audit.complete({
      ...{ kind: "completion", at, instance, txns: [txn] },
      ...{ outcome: "ended", why, messages },
    });
  }
}

function mayConnect(grant: Grant): boolean {
  return decide(grant, { verb: "connect", way: "native" }).ok;
}
