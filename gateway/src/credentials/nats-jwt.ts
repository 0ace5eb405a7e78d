import { hash } from "node:crypto";
import type { EpochSeconds } from "../time.ts";
import { type Nkey, parsePublicNkey, verifyNkey } from "./nkey.ts";

/**
 * The JWTs that NATS runs on: operator, account and user. Our own encoder, because names are UTF-8, the hot
 * path signs natively, and fields such as `proxy_required` must be there.
 *
 * @source https://docs.nats.io/running-a-nats-service/configuration/securing_nats/auth_intro/jwt
 * @source ADR-14, ADR-55 of nats-io/nats-architecture-and-design
 */
export interface NatsJwtOptions<Kind extends NatsClaims["type"]> {
  /** For people, except in a user JWT of ours, where it is the user. Any Unicode. */
  readonly name: string;
  /** Public key of what is described. */
  readonly subject: string;
  /** Whom it is for: a server, or the account a callout places a user in. */
  readonly audience?: string;
  readonly signer: Nkey;
  /** A fraction is dropped, as it is from `expiresAt`: what NATS is told is never later than what was meant. */
  readonly issuedAt: EpochSeconds;
  /** Absent = never. */
  readonly expiresAt?: EpochSeconds;
  readonly claims: Extract<NatsClaims, { readonly type: Kind }>;
}

export type NatsClaims = OperatorClaims | AccountClaims | UserClaims | CalloutAnswerClaims;

export interface OperatorClaims {
  readonly type: "operator";
  readonly signing_keys?: readonly string[];
  readonly system_account?: string;
}

export interface AccountClaims {
  readonly type: "account";
  readonly limits: AccountLimits;
  readonly signing_keys?: readonly string[];
  readonly exports?: readonly ExportClaims[];
  readonly imports?: readonly ImportClaims[];
  /** Every connection of the account is judged by the auth callout, but for `auth_users`. */
  readonly authorization?: {
    readonly auth_users: readonly string[];
    /** Other accounts that the callout may place users in. */
    readonly allowed_accounts?: readonly string[];
    readonly xkey?: string;
  };
}

export interface ExportClaims {
  readonly name: string;
  readonly subject: string;
  readonly type: "service" | "stream";
  readonly response_type?: "Singleton" | "Stream";
}

export interface ImportClaims {
  readonly name: string;
  readonly subject: string;
  /** The exporting account, A…. */
  readonly account: string;
  readonly local_subject: string;
  readonly type: "service" | "stream";
  /** Services are told who asks, in `Nats-Request-Info`. */
  readonly share?: boolean;
}

/** NATS reads an absent limit as 0, so all are required; -1 = unlimited. */
export interface AccountLimits {
  readonly subs: number;
  readonly data: number;
  readonly payload: number;
  readonly imports: number;
  readonly exports: number;
  readonly wildcards: boolean;
  readonly conn: number;
  readonly leaf: number;
  readonly disallow_bearer: boolean;
  /** Bytes of JetStream in memory and on disk; both 0 = no JetStream. */
  readonly mem_storage: number;
  readonly disk_storage: number;
  readonly streams: number;
  readonly consumer: number;
}

export interface UserClaims {
  readonly type: "user";
  /** The account, when the signer is one of its signing keys. */
  readonly issuer_account?: string;
  readonly pub: SubjectLists;
  readonly sub: SubjectLists;
  /** Replies to requests received; `ttl` in nanoseconds. */
  readonly resp?: { readonly max: number; readonly ttl: number };
  /** NATS reads an absent limit as 0: no subscription, no payload. */
  readonly subs: number;
  readonly data: number;
  readonly payload: number;
  /** Only through a trusted proxy (ADR-55, nats-server 2.12): the JWT alone is worthless. */
  readonly proxy_required?: boolean;
  /** Without a signature over the nonce: whoever has the JWT is the user. */
  readonly bearer_token?: boolean;
  readonly allowed_connection_types?: readonly "STANDARD"[];
  /** `key:value`; NATS lower-cases the key of what it looks up and keeps the value. */
  readonly tags?: readonly string[];
}

/** What an auth callout answers: a user JWT, or in words why not. */
export type CalloutAnswerClaims = {
  readonly type: "authorization_response";
  /** The account, when the signer is one of its signing keys. */
  readonly issuer_account?: string;
} & ({ readonly jwt: string } | { readonly error: string });

/** Who signs for an account: a key of it, or the account itself. */
export interface AccountSigner {
  readonly signingKey: Nkey;
  /** A…: the account that it is a signing key of; undefined when it is the account's own, or a callout's issuer. */
  readonly accountPublicKey: string | undefined;
}

export interface SubjectLists {
  readonly allow?: readonly string[];
  readonly deny?: readonly string[];
}

export interface NatsJwt {
  readonly name: string;
  readonly subject: string;
  /** The public key that signed it. */
  readonly issuer: string;
  readonly expiresAt?: EpochSeconds;
  readonly type: string;
  /** The account a user belongs to, whether an account key or a signing key signed. */
  readonly account?: string;
}

/** Largest JWT that `readNatsJwt` looks at: twice the CONNECT line that `max_control_line: 1MB` admits. */
export const NATS_JWT_BYTES_MAX: number = 2 * 1024 * 1024;

const HEADER = Buffer.from(JSON.stringify({ typ: "JWT", alg: "ed25519-nkey" })).toString("base64url");

/** @returns the signed JWT; its `jti` is a hash of the claims, so the same claims make the same JWT */
export function encodeNatsJwt<Kind extends NatsClaims["type"]>(options: NatsJwtOptions<Kind>): string {
  const claims = {
    iat: Math.floor(options.issuedAt),
    ...(options.expiresAt === undefined ? {} : { exp: Math.floor(options.expiresAt) }),
    iss: options.signer.publicKey,
    sub: options.subject,
    ...(options.audience === undefined ? {} : { aud: options.audience }),
    name: options.name,
    nats: { version: 2, ...options.claims },
  };
  return signNatsClaims(claims, options.signer);
}

/** @param claims  with `iss`, which is the signer's public key */
export function signNatsClaims(claims: { readonly iss: string }, signer: Nkey): string {
  const jti = hash("sha256", JSON.stringify(claims), "base64url");
  const body = `${HEADER}.${Buffer.from(JSON.stringify({ jti, ...claims })).toString("base64url")}`;
  return `${body}.${signer.sign(body).toString("base64url")}`;
}

/**
 * Reads a NATS JWT from a file of the operator's and checks its signature under the key it names as issuer.
 * Whether that issuer may is for nats-server to say.
 *
 * @returns undefined when it is not one, or its signature is wrong
 */
export function readNatsJwt(text: string): NatsJwt | undefined {
  if (text.length > NATS_JWT_BYTES_MAX) return undefined;
  const [header, body, signature, ...rest] = text.split(".");
  if (header === undefined || body === undefined || signature === undefined || rest.length > 0)
    return undefined;
  const claims = parseObject(Buffer.from(body, "base64url").toString());
  const nats = objectOf(claims?.nats);
  if (parseObject(Buffer.from(header, "base64url").toString())?.alg !== "ed25519-nkey") return undefined;
  if (claims === undefined || nats === undefined) return undefined;
  const { iss, sub, name, exp } = claims;
  if (typeof iss !== "string" || typeof sub !== "string" || typeof nats.type !== "string") return undefined;
  if (exp !== undefined && typeof exp !== "number") return undefined;
  if (!verifyNkey(iss, `${header}.${body}`, Buffer.from(signature, "base64url"))) return undefined;
  const account = nats.issuer_account || (parsePublicNkey(iss)?.kind === "account" ? iss : undefined);
  return {
    name: typeof name === "string" ? name : "",
    subject: sub,
    issuer: iss,
    type: nats.type,
    ...(exp ? { expiresAt: exp } : {}),
    ...(typeof account === "string" ? { account } : {}),
  };
}

function parseObject(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    return objectOf(JSON.parse(text));
  } catch {
    return undefined;
  }
}

function objectOf(value: unknown): Readonly<Record<string, unknown>> | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Readonly<Record<string, unknown>>)
    : undefined;
}
