import { GatewayError } from "../errors.ts";
import type { EpochSeconds } from "../time.ts";
import { readNatsJwt, signNatsClaims } from "./nats-jwt.ts";
import { type Nkey, parsePublicNkey } from "./nkey.ts";

/** An account's JWT with all its claims, those too that this version knows nothing of: they are signed again as they are. */
export interface AccountJwt {
  readonly jwt: string;
  /** A…. */
  readonly account: string;
  readonly name: string;
  /** The operator's key that signed it, O…. */
  readonly issuer: string;
  readonly issuedAt: EpochSeconds;
  /** By user key, U… or `*`: JWTs issued at or before are refused. */
  readonly revocations: Readonly<Record<string, EpochSeconds>>;
}

export interface Revocation {
  /** U…, or `*` for every user of the account. */
  readonly keys: readonly string[];
  /** JWTs issued at or before are refused. */
  readonly at: EpochSeconds;
  readonly now: EpochSeconds;
}

export interface Revoked {
  readonly jwt: string;
  readonly added: readonly string[];
  /** Entries that no living credential needs. */
  readonly pruned: readonly string[];
  /** All there are now. */
  readonly entries: number;
}

/** No credential of a gateway lives longer than a day (`limits: credential:`); an hour for clocks that differ. */
export const REVOCATION_KEPT_SECONDS: number = 86_400 + 3_600;
/**
 * About 93 bytes each: well within the 1 MiB that nats-server takes in one message, with what else is in the JWT.
 * Who has to revoke more revokes `*`.
 */
export const REVOCATIONS_MAX = 5_000;
/** 2100-01-01: for a user whose JWT does not expire, so that its revocation must not either. */
export const FOR_GOOD: EpochSeconds = 4_102_444_800;
/** The next JWT must be newer than this one by whole seconds, or a server that missed it would keep the old one. */
const CLOCK_BEHIND_SECONDS_MAX = 60;

/** @returns undefined when it is no account's JWT, or its signature is wrong */
export function readAccountJwt(jwt: string): AccountJwt | undefined {
  const read = readNatsJwt(jwt);
  if (read?.type !== "account") return undefined;
  const { iat, nats } = claimsOf(jwt);
  const revocations = nats.revocations ?? {};
  if (typeof iat !== "number" || Object.values(revocations).some((at) => typeof at !== "number"))
    return undefined;
  return {
    jwt,
    account: read.subject,
    name: read.name,
    issuer: read.issuer,
    issuedAt: iat,
    revocations,
  };
}

/**
 * The account's next JWT, with these revocations added and those dropped that are older than any credential.
 *
 * @param signer  an operator's key
 * @throws GatewayError CONFIG_INVALID  a key is none of a user; a time in the future; too many; this machine's clock
 *   is behind
 */
export function revokeIn(account: AccountJwt, { keys, at, now }: Revocation, signer: Nkey): Revoked {
  for (const key of keys) if (key !== "*" && parsePublicNkey(key)?.kind !== "user") throw wrong(NO_USER_KEY);
  if (at > now && at !== FOR_GOOD) throw wrong("a time in the future would refuse credentials not yet made");
  if (account.issuedAt > now + CLOCK_BEHIND_SECONDS_MAX)
    throw wrong(`this machine's clock is behind: the account's JWT was issued at ${account.issuedAt}`);
  const revocations: Record<string, EpochSeconds> = { ...account.revocations };
  for (const key of keys) revocations[key] = Math.max(Math.floor(at), revocations[key] ?? 0);
  const everyone = revocations["*"] ?? 0;
  const pruned = Object.entries(revocations)
    .filter(([key, time]) => time < now - REVOCATION_KEPT_SECONDS || (key !== "*" && time <= everyone))
    .map(([key]) => key)
    .filter((key) => !keys.includes(key));
  for (const key of pruned) delete revocations[key];
  const entries = Object.keys(revocations).length;
  if (entries > REVOCATIONS_MAX)
    throw wrong(`it would be ${entries} revocations, at most ${REVOCATIONS_MAX} are safe; revoke '*'`);
  const { jti, iat, iss, nats, ...rest } = claimsOf(account.jwt);
  const next = {
    iat: Math.max(Math.floor(now), account.issuedAt + 1),
    iss: signer.publicKey,
    ...rest,
    nats: { ...nats, revocations },
  };
  return { jwt: signNatsClaims(next, signer), added: keys, pruned, entries };
}

interface Claims extends Readonly<Record<string, unknown>> {
  readonly nats: Readonly<Record<string, unknown>> & {
    readonly revocations?: Readonly<Record<string, EpochSeconds>>;
  };
}

/** Of a JWT that has been read. */
function claimsOf(jwt: string): Claims {
  const [, body = ""] = jwt.split(".");
  return JSON.parse(Buffer.from(body, "base64url").toString()) as Claims;
}

const NO_USER_KEY = "expected public keys of users, 56 characters that begin with U, or '*'";

function wrong(why: string): GatewayError {
  return new GatewayError("CONFIG_INVALID", `Cannot revoke: ${why}.`);
}
