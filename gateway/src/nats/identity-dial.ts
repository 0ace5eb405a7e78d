import { errors as natsErrors } from "@nats-io/transport-node";
import type { Nkey } from "../credentials/nkey.ts";
import { createNkey } from "../credentials/nkey.ts";
import type { Credential } from "../credentials/user.ts";
import { GatewayError } from "../errors.ts";
import { holderOf, type Identity } from "../identity/identity.ts";
import type { Grant } from "../policy/grant.ts";
import { allowed, type Outcome, refused } from "../refusal.ts";
import type { Dial } from "./dial.ts";
import type { ServerWish } from "./identity-connection.ts";
import { Link } from "./link.ts";
import type { PoolParts } from "./pool.ts";

/** Dials at once; the others wait their turn. More only makes each of them slower, and nats-server drop some. */
export const DIALS_AT_ONCE = 64;

/**
 * How an identity's connections are dialled: with a fresh user key each, whose private half never leaves this
 * process, under a Credential minted for it, vouched for by the trusted proxy.
 *
 * @param credentialFor  mints for a user public key (U…), for the moment it is called
 * @param proxyKey       signs the server's nonce beside the user key (ADR-55); absent where no proxy is trusted
 */
export function createIdentityDial({
  dial,
  credentialFor,
  proxyKey,
  instance,
}: {
  readonly dial: Dial;
  readonly credentialFor: (identity: Identity, grant: Grant, userPublicKey: string) => Outcome<Credential>;
  readonly proxyKey?: Nkey;
  /** Shown in nats-server's list of connections. */
  readonly instance: string;
}): Pick<PoolParts, "dialLink" | "nextExpiry"> {
  const inTurn = createTurnstile(DIALS_AT_ONCE);
  const breaker = createBreaker();
  // Expiry does not depend on the user key, so asking for it needs no new one.
  const anyUser = createNkey("user").publicKey;

  async function dialLink(identity: Identity, grant: Grant, wish: ServerWish): Promise<Outcome<Link>> {
    const unreachable = breaker.refusal();
    if (unreachable) return unreachable;
    const userKey = createNkey("user");
    const credential = credentialFor(identity, grant, userKey.publicKey);
    if (!credential.ok) {
      breaker.untried();
      return credential;
    }
    const { shown, inboxPrefix, expiresAt } = credential.value;
    try {
      const connection = await dial({
        name: `countersign/${instance} ${holderOf(identity)}`.slice(0, CONNECTION_NAME_CHARACTERS_MAX),
        inboxPrefix,
        ...wish,
        answer: (nonce) => ({
          ...shown,
          sig: userKey.sign(nonce).toString("base64url"),
          ...(proxyKey && { proxy_sig: proxyKey.sign(nonce).toString("base64url") }),
        }),
      });
      breaker.reached();
      return allowed(new Link(connection, inboxPrefix, expiresAt));
    } catch (error) {
      if (!(error instanceof GatewayError)) {
        breaker.untried();
        throw error;
      }
      const refusal = refused({ reason: "nats_unavailable", why: error.message });
      if (isUnreachable(error)) breaker.missed(refusal);
      else breaker.reached();
      return refusal;
    }
  }

  return {
    dialLink: (identity, grant, wish) => inTurn(() => dialLink(identity, grant, wish)),
    nextExpiry(identity, grant) {
      const credential = credentialFor(identity, grant, anyUser);
      return credential.ok ? allowed(credential.value.expiresAt) : credential;
    },
  };
}

/** What `mintCredential` allows for in its bound of the CONNECT line. */
export const CONNECTION_NAME_CHARACTERS_MAX = 256;

type NatsRefusal = ReturnType<typeof refused>;

/**
 * While no server can be reached, one dial every 100 ms finds out whether one is back, and the others are
 * refused at once: thousands of connections that all keep trying would leave no time for anything else, and
 * behind a server that hangs, each would wait for those before it.
 */
function createBreaker() {
  let last: NatsRefusal | undefined;
  let mayTry = true;
  return {
    refusal(): NatsRefusal | undefined {
      if (!last) return undefined;
      if (!mayTry) return last;
      mayTry = false;
      return undefined;
    },
    /** Nobody has found out anything. */
    untried(): void {
      mayTry = true;
    },
    reached(): void {
      last = undefined;
      mayTry = true;
    },
    missed(refusal: NatsRefusal): void {
      last = refusal;
      mayTry = false;
      setTimeout(() => {
        mayTry = true;
      }, TRY_AGAIN_AFTER_MS).unref();
    },
  };
}

const TRY_AGAIN_AFTER_MS = 100;

/** A server that refuses a credential, or is too old, was reached: that is one identity's affair. */
function isUnreachable({ code, cause }: GatewayError): boolean {
  if (code !== "NATS_UNREACHABLE" || !(cause instanceof Error)) return false;
  return cause instanceof natsErrors.TimeoutError || /connection refused/i.test(cause.message);
}

/** Lets at most so many run at once, the others in the order they came. */
export function createTurnstile(atOnce: number): <T>(run: () => Promise<T>) => Promise<T> {
  const waiting: (() => void)[] = [];
  let running = 0;
  return async function inTurn(run) {
    if (running >= atOnce) await new Promise<void>((resolve) => waiting.push(resolve));
    else running += 1;
    try {
      return await run();
    } finally {
      const next = waiting.shift();
      // The place is handed on, so that nobody slips in between.
      if (next) next();
      else running -= 1;
    }
  };
}
