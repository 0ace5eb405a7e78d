import { verify } from "node:crypto";
import { allowed, type Outcome, refused } from "../refusal.ts";
import type { EpochSeconds } from "../time.ts";
import type { CalloutRequest } from "./callout.ts";
import type { CalloutUser } from "./callout-user.ts";
import { encodeNatsJwt, type UserClaims } from "./nats-jwt.ts";
import { keyObjectOf, type Nkey, verifyNkey } from "./nkey.ts";

/** @returns undefined when the connection does not come with a credential for one that the gateway carries */
export type JudgeCarried = (request: CalloutRequest, now: EpochSeconds) => Outcome<CalloutUser> | undefined;

/**
 * Makes the judge of the gateway's own connections for its callers, where accounts stand in the server's configuration
 * and everybody comes through the callout: with a credential as `mintCredential` makes it, which says `proxy_required`
 * and carries its permissions itself. It is answered with the same, for the user that the server asks about, so that
 * no decision is made a second time, and any instance can answer for any other.
 *
 * The server checks nothing of what it passes on here: neither signature, nor time, nor kind of connection.
 *
 * @param signingKey  signed the credential, and is the callout's issuer
 * @param placement   name of the account that the gateway's callers are carried in
 */
export function createJudgeCarried({
  signingKey,
  placement,
}: {
  readonly signingKey: Nkey;
  readonly placement: string;
}): JudgeCarried {
  const key = keyObjectOf(signingKey.publicKey);
  if (!key) throw new Error(`not a public key: ${signingKey.publicKey}`);

  return function judgeCarried({ client, connect, userNkey }, now) {
    const { authToken = "", sig = "" } = connect;
    const [head = "", body = "", tail = ""] = authToken.split(".");
    if (tail === "" || !verify(null, Buffer.from(`${head}.${body}`), key, Buffer.from(tail, "base64url")))
      return undefined;
    // From here on it is our own writing.
    const { name, sub, aud, exp, nats } = JSON.parse(Buffer.from(body, "base64url").toString()) as Written;
    // Credentials for clients that connect by themselves are not for here, nor is what a callout was answered with.
    if (nats.type !== "user" || nats.proxy_required !== true || aud !== undefined) return undefined;
    if (client.nonce === undefined || !verifyNkey(sub, client.nonce, Buffer.from(sig, "base64url")))
      return refused({ reason: "proof_invalid", why: "the credential's key did not sign the nonce" });
    if (!(exp > now)) return refused({ reason: "proof_expired", expiredAt: exp, now });
    if (client.type !== "standard") return refused({ reason: "connection_type_refused", type: client.type });
    const { version: _, ...claims } = nats;
    const answer = encodeNatsJwt<"user">({
      name,
      subject: userNkey,
      audience: placement,
      signer: signingKey,
      issuedAt: now,
      expiresAt: exp,
      claims,
    });
    return allowed({ jwt: answer, expiresAt: exp });
  };
}

interface Written {
  readonly name: string;
  readonly sub: string;
  /** Of what a callout was answered with. */
  readonly aud?: string;
  readonly exp: EpochSeconds;
  readonly nats: UserClaims & { readonly version: number };
}
