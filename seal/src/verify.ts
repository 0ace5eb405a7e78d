import type { KeySet } from "./cached-keys.ts";
import { type EpochSeconds, type HeaderList, parseScope, type SealClaims } from "./claims.ts";
import { headersDigest, payloadDigest } from "./digests.ts";
import { parseUserName } from "./escape.ts";
import { remoteKeySet } from "./keys.ts";
import { createOpen, type Opened } from "./open-seal.ts";
import { type Received, type ReceivedMessage, receive } from "./received.ts";
import { SealError } from "./seal-error.ts";
import { subjectMatches } from "./subject.ts";

export interface VerifierOptions {
  /** The gateway's public URL, exactly: the claim `iss`. */
  readonly issuer: string;
  /** The trust domain: the claim `aud`. */
  readonly audience: string;
  /** Default: `<issuer>/.well-known/jwks.json` over HTTPS. */
  readonly keys?: KeySet;
  /** Default: the system's. */
  readonly clock?: () => EpochSeconds;
  /**
   * The subject under which a message sealed for `sealed` arrives, where a stream or an account import is configured
   * to rename it. Undefined = it is not renamed. The sealed subject itself is always accepted.
   */
  readonly transform?: (sealed: string) => string | undefined;
  /** Whether the user, the session or the action has been revoked since: answers `authorizedNow`. */
  readonly isRevoked?: (who: Revocable) => boolean | Promise<boolean>;
  /** Refuses messages that the broker took longer ago, seconds. Default: any age, since a seal is evidence. */
  readonly maxAgeSeconds?: number;
}

/** What a revocation may name. */
export interface Revocable {
  readonly user: string;
  readonly actor?: string;
  readonly sessionHash?: string;
  readonly txn: string;
  readonly id: string;
  readonly sealedAt: EpochSeconds;
}

/** Whom the seal names, each in the words of the design: a person or service is a user. */
export interface SealedSender {
  readonly verified: true;
  /** `<issuer>-<escaped id>`. */
  readonly user: string;
  readonly issuer: string;
  /** The id as the issuer writes it. */
  readonly id: string;
  /** For display only; where the gateway is configured to seal it. */
  readonly name?: string;
  /** The user name of who acted for the user. */
  readonly actor?: string;
}

/** A message that was what it is when the broker took it. Everything here is under the seal. */
export interface VerifiedMessage {
  readonly sender: SealedSender;
  /** As received. Of a reply it is the inbox, and not under the seal. */
  readonly subject: string;
  /** Drop a second message with the same id: on core NATS nothing else does. */
  readonly id: string;
  readonly txn: string;
  readonly claims: SealClaims;
  /** Only those the seal covers. */
  readonly headers: HeaderList;
  readonly payload: Uint8Array;
  /** Parses the payload; throws SyntaxError or TypeError when it is not JSON in UTF-8. */
  json(): unknown;
  /** Throws TypeError when the payload is not UTF-8. */
  text(): string;
  readonly authenticAtPublish: true;
  /** Undefined without a revocation source. */
  readonly authorizedNow: boolean | undefined;
}

export interface Verifier {
  /** @throws SealError, whose `code` says why */
  (message: ReceivedMessage): Promise<VerifiedMessage>;
  /**
   * Verifies a reply. Replies are sealed for the id of the request, because service imports rewrite their subjects.
   *
   * @param options.to  id of the message that was sent
   * @throws SealError, whose `code` says why
   */
  reply(message: ReceivedMessage, options: { readonly to: string }): Promise<VerifiedMessage>;
}

/** The clocks of gateway and broker may differ by this. */
const SKEW_SECONDS = 5;

/**
 * Creates a verifier of the messages of one gateway. Keep it: it holds keys and verified roots.
 *
 * @throws TypeError for options that cannot be right
 */
export function createVerifier(options: VerifierOptions): Verifier {
  checkOptions(options);
  const { issuer, audience, isRevoked } = options;
  const keys = options.keys ?? remoteKeySet({ url: `${issuer.replace(/\/$/, "")}/.well-known/jwks.json` });
  const clock = options.clock ?? systemClock;
  const open = createOpen(keys);

  async function verifyAs(message: ReceivedMessage, to: string | undefined): Promise<VerifiedMessage> {
    const now = clock();
    const received = receive(message, now);
    const opened = await open(received.seal, now);
    checkOrigin(opened, issuer, audience);
    checkTime(opened.claims, received.brokerTime, now, options.maxAgeSeconds);
    checkTarget(opened.claims, received.subject, to, options.transform);
    checkContent(opened.claims, received);
    const sender = senderOf(opened.claims);
    return verifiedMessage(opened.claims, received, sender, await authorizedNow(opened.claims, isRevoked));
  }

  return Object.assign((message: ReceivedMessage) => verifyAs(message, undefined), {
    reply: (message: ReceivedMessage, { to }: { readonly to: string }) => verifyAs(message, to),
  });
}

function systemClock(): EpochSeconds {
  return Date.now() / 1000;
}

function checkOptions({ issuer, audience, maxAgeSeconds }: VerifierOptions): void {
  if (!issuer || !audience) {
    throw new TypeError("Cannot create a verifier: expected an issuer and an audience, found an empty one");
  }
  if (maxAgeSeconds !== undefined && !(maxAgeSeconds > 0)) {
    throw new TypeError(`Cannot create a verifier: expected maxAgeSeconds above 0, found ${maxAgeSeconds}`);
  }
}

function checkOrigin({ claims, key }: Opened, issuer: string, audience: string): void {
  if (claims.iss !== issuer) throw new SealError("issuer_wrong", `Sealed by another gateway than ${issuer}`);
  if (claims.aud !== audience)
    throw new SealError("audience_wrong", `Sealed for another trust domain than ${audience}`);
  if (claims.iat < key.validFrom || claims.iat > key.validUntil) {
    throw new SealError("key_not_valid", `Sealed at ${claims.iat}, when the key ${key.kid} was not in use`);
  }
}

/** Written so that a time which is not a number is refused. */
function checkTime(
  { iat, exp }: SealClaims,
  brokerTime: EpochSeconds,
  now: EpochSeconds,
  maxAge = Number.POSITIVE_INFINITY,
): void {
  if (!(brokerTime >= iat - SKEW_SECONDS)) {
    throw new SealError("too_early", `The broker took it at ${brokerTime}, before it was sealed at ${iat}`);
  }
  if (!(brokerTime <= exp + SKEW_SECONDS)) {
    throw new SealError("expired", `The broker took it at ${brokerTime}, after its seal expired at ${exp}`);
  }
  if (!(now - brokerTime <= maxAge)) {
    throw new SealError("stale", `The broker took it at ${brokerTime}, over ${maxAge} seconds ago`);
  }
}

function checkTarget(
  { tctx: { msg }, scope }: SealClaims,
  subject: string,
  to: string | undefined,
  transform: VerifierOptions["transform"],
): void {
  if (msg.re !== to)
    throw new SealError("reply_wrong", "Not the reply, or not the message, that was expected");
  if (msg.s === undefined) return;
  if (subject !== msg.s && subject !== transform?.(msg.s)) {
    throw new SealError("subject_wrong", "Received on another subject than it was sealed for");
  }
  const pattern = parseScope(scope)?.pattern ?? "";
  if (!subjectMatches(pattern, msg.s)) {
    throw new SealError("out_of_scope", "The sealed subject lies outside the sealed scope");
  }
}

function checkContent({ tctx: { msg } }: SealClaims, { payload, headers, ids }: Received): void {
  if (payloadDigest(payload) !== msg.d)
    throw new SealError("payload_changed", "The payload is not the sealed one");
  if (headersDigest(headers) !== msg.h)
    throw new SealError("headers_changed", "The headers are not the sealed ones");
  if (ids.length !== 1 || ids[0] !== msg.id) {
    throw new SealError("id_wrong", "The message has not exactly one Nats-Msg-Id, equal to the sealed id");
  }
}

async function authorizedNow(
  claims: SealClaims,
  isRevoked: VerifierOptions["isRevoked"],
): Promise<boolean | undefined> {
  if (!isRevoked) return undefined;
  const { sub, act, txn, iat, tctx, rctx } = claims;
  const who: Revocable = {
    user: sub,
    ...(act && { actor: act.sub }),
    ...(rctx.sid !== undefined && { sessionHash: rctx.sid }),
    txn,
    id: tctx.msg.id,
    sealedAt: iat,
  };
  try {
    return !(await isRevoked(who));
  } catch (cause) {
    throw new SealError("revocation_unavailable", "The revocation source cannot be asked now", { cause });
  }
}

function senderOf({ sub, act, rctx }: SealClaims): SealedSender {
  const name = parseUserName(sub);
  if (!name) throw new SealError("claims_invalid", "The claims are not well-formed: sub");
  return {
    verified: true,
    user: sub,
    ...name,
    ...(rctx.name !== undefined && { name: rctx.name }),
    ...(act && { actor: act.sub }),
  };
}

function verifiedMessage(
  claims: SealClaims,
  { subject, headers, payload }: Received,
  sender: SealedSender,
  isAuthorized: boolean | undefined,
): VerifiedMessage {
  const text = () => new TextDecoder("utf-8", { fatal: true }).decode(payload);
  return {
    sender,
    subject,
    id: claims.tctx.msg.id,
    txn: claims.txn,
    claims,
    headers,
    payload,
    text,
    json: (): unknown => JSON.parse(text()),
    authenticAtPublish: true,
    authorizedNow: isAuthorized,
  };
}
