import { hash, type KeyObject, verify } from "node:crypto";
import { setBounded } from "../bounded-map.ts";
import type { VerifyCredential } from "../identity/identify.ts";
import type { Identity } from "../identity/identity.ts";
import { openBox, type SecretKey, sealBox } from "../identity/sealed-box.ts";
import type { Grant } from "../policy/grant.ts";
import { allowed, type Outcome, refused } from "../refusal.ts";
import type { EpochSeconds } from "../time.ts";
import { type AccountSigner, encodeNatsJwt } from "./nats-jwt.ts";
import { keyObjectOf, verifyNkey } from "./nkey.ts";
import { CONNECT_OPTIONS_BYTES_MAX, expiryOf, tagsOf } from "./user.ts";

/** A user JWT for a caller's own key. It says who, and nothing of what: every connect is judged anew. */
export interface DirectCredential {
  readonly jwt: string;
  readonly expiresAt: EpochSeconds;
}

/** Tag whose value is the identity, sealed: services that are shown the JWT (`share: true`) cannot read it. */
const BOX_TAG = "countersign:";
const BOX_CONTEXT = "direct credential v1 ";
/** Longest credential that is looked at: the CONNECT line of `max_control_line: 1MB`. */
const JWT_BYTES_MAX = 1_000_000;
/** Credentials verified and kept; each takes about as much as its identity. */
const REMEMBERED_MAX = 5_000;

/**
 * Mints a credential for a client that connects by itself. It allows nothing: should the account ever not be under
 * the auth callout, whoever holds one can do nothing with it.
 *
 * @param nkey      the caller's public key (U…), whose private half never leaves the caller
 * @param boxKey    the subkey `direct-credential` of the cluster secret
 * @param audience  the account's name, where accounts stand in the server's configuration
 * @returns `proof_expired`; `credential_too_large` when the server would close the connection over its CONNECT line
 */
export function mintDirectCredential({
  identity,
  grant,
  nkey,
  signer: { signingKey, accountPublicKey },
  boxKey,
  now,
  controlLineBytesMax,
}: {
  readonly identity: Identity;
  readonly grant: Grant;
  readonly nkey: string;
  readonly signer: AccountSigner;
  readonly boxKey: SecretKey;
  readonly now: EpochSeconds;
  readonly controlLineBytesMax: number;
}): Outcome<DirectCredential> {
  const expiry = expiryOf(identity, grant, now);
  if (!expiry.ok) return expiry;
  const box = sealBox(boxKey(), JSON.stringify(identity), BOX_CONTEXT + nkey);
  const jwt = encodeNatsJwt<"user">({
    name: identity.user,
    subject: nkey,
    signer: signingKey,
    issuedAt: now,
    expiresAt: expiry.value,
    claims: {
      type: "user",
      ...(accountPublicKey !== undefined && { issuer_account: accountPublicKey }),
      pub: { deny: [">"] },
      sub: { deny: [">"] },
      subs: -1,
      data: -1,
      payload: -1,
      tags: [...tagsOf(identity), BOX_TAG + box],
    },
  });
  const bytes = jwt.length + CONNECT_OPTIONS_BYTES_MAX;
  return bytes > controlLineBytesMax
    ? refused({ reason: "credential_too_large", bytes, bytesMax: controlLineBytesMax })
    : allowed({ jwt, expiresAt: expiry.value });
}

/**
 * Makes the verifier of what `mintDirectCredential` makes. The signature over the nonce is verified even where
 * nats-server has done so: it asks the callout about connections whose signature it found wrong as well.
 *
 * @param issuer  public key of the signer, A…
 * @returns the Identity the credential was given for, ending with the credential
 */
export function createVerifyCredential({
  issuer,
  boxKey,
}: {
  readonly issuer: string;
  readonly boxKey: SecretKey;
}): VerifyCredential {
  const key = keyObjectOf(issuer);
  if (!key) throw new Error(`not a public key: ${issuer}`);
  /** By the hash of the JWT, least recently used first. */
  const remembered = new Map<string, Opened>();

  return function verifyCredential({ jwt, nonce, sig }, now) {
    if (jwt.length > JWT_BYTES_MAX) return invalid("a credential over the size limit");
    const name = hash("sha256", jwt, "base64url");
    const opened = remembered.get(name) ?? open(jwt, key, boxKey());
    if (!opened) return invalid("not a credential of ours");
    setBounded(remembered, name, opened, REMEMBERED_MAX);
    if (!verifyNkey(opened.nkey, nonce, Buffer.from(sig, "base64url")))
      return invalid("the credential's key did not sign the nonce");
    const { expiresAt } = opened.identity;
    return now < expiresAt
      ? allowed(opened.identity)
      : refused({ reason: "proof_expired", expiredAt: expiresAt, now });
  };
}

interface Opened {
  readonly nkey: string;
  readonly identity: Identity;
}

/** Whether a text is a NATS JWT at all, as ours and sentinels are; anything else in its place is a token. */
export function isNatsJwt(text: string): boolean {
  return /^eyJ[\w-]+\.[\w-]+\.[\w-]{86}$/.test(text) && parse(text.split(".", 1)[0])?.alg === "ed25519-nkey";
}

function open(jwt: string, key: KeyObject, boxKey: ReturnType<SecretKey>): Opened | undefined {
  const [head, body, tail, ...rest] = jwt.split(".");
  if (head === undefined || body === undefined || tail === undefined || rest.length > 0) return undefined;
  if (!verify(null, Buffer.from(`${head}.${body}`), key, Buffer.from(tail, "base64url"))) return undefined;
  // From here on it is our own writing.
  const { sub, exp, nats } = (parse(body) ?? {}) as Partial<Written>;
  const box = nats?.tags?.find((tag) => tag.startsWith(BOX_TAG))?.slice(BOX_TAG.length);
  if (sub === undefined || exp === undefined || box === undefined) return undefined;
  const text = openBox(boxKey, box, BOX_CONTEXT + sub);
  if (text === undefined) return undefined;
  const identity = JSON.parse(text) as Identity;
  const attributes = Object.assign(Object.create(null), identity.attributes);
  return { nkey: sub, identity: { ...identity, attributes, expiresAt: Math.min(identity.expiresAt, exp) } };
}

interface Written {
  readonly sub: string;
  readonly exp: EpochSeconds;
  readonly nats: { readonly tags?: readonly string[] };
}

function parse(base64url: string | undefined): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(base64url ?? "", "base64url").toString());
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function invalid(why: string): Outcome<never> {
  return refused({ reason: "proof_invalid", why });
}
