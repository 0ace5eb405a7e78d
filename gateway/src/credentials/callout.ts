import { type KeyObject, verify } from "node:crypto";
import { setBounded } from "../bounded-map.ts";
import { isJsonObject, type Json, type JsonObject, parseStrictJson } from "../identity/strict-json.ts";
import type { EpochSeconds } from "../time.ts";
import { type AccountSigner, encodeNatsJwt } from "./nats-jwt.ts";
import { keyObjectOf, parsePublicNkey } from "./nkey.ts";

/** Where nats-server asks, in the account that the auth callout is configured for. */
export const CALLOUT_SUBJECT = "$SYS.REQ.USER.AUTH";
/** All instances of a gateway answer in turn. */
export const CALLOUT_QUEUE = "countersign";
/** Header of a request that is sealed: the server's public curve key. */
export const CALLOUT_XKEY_HEADER = "Nats-Server-Xkey";

/**
 * Largest request that is looked at. It carries the client's CONNECT, whose line `max_control_line: 1MB` bounds, in
 * base64, and the client's certificates.
 */
export const CALLOUT_BYTES_MAX: number = 2 * 1024 * 1024;
/** The clocks of gateway and server differ by no more (`doctor` says so). */
const CLOCK_TOLERANCE_SECONDS = 2;
/** nats-server asks for as long as its `authorization.timeout`, which is seconds. */
const LIFE_SECONDS_MAX = 300;
/** Servers whose keys are kept ready. */
const SERVERS_MAX = 1_024;
const NAME_CHARACTERS_MAX = 256;

/** One connection that a nats-server asks about: what it saw, and what the client presented. */
export interface CalloutRequest {
  readonly server: {
    /** N…: signed the request, and the audience of the answer. */
    readonly id: string;
    readonly name: string;
    /** X…; absent where requests are not sealed. */
    readonly xkey?: string;
  };
  /** U…, made for this attempt: whom the answer must be about. */
  readonly userNkey: string;
  readonly client: {
    /** Address as the server's socket says. */
    readonly host: string;
    /** The connection's number on this server: what KICK takes. */
    readonly id: number;
    readonly type: ConnectionType;
    /** What the client calls itself; cut to 256 characters. */
    readonly name?: string;
    /** What the server gave it to sign; present when it signed. */
    readonly nonce?: string;
  };
  /** What CONNECT carried; absent members were empty. */
  readonly connect: {
    readonly jwt?: string;
    readonly sig?: string;
    readonly authToken?: string;
    readonly password?: string;
  };
}

/** `other`: a kind of connection that this version does not know. */
export type ConnectionType = "standard" | "websocket" | "mqtt" | "leafnode" | "other";

export type ReadCallout = (token: string, now: EpochSeconds) => CalloutRequest | string;

/**
 * Makes the reader of authorization requests: JWTs signed by a nats-server. The signature says that one process wrote
 * all of it; that this process is a server of the cluster follows from where it came, since nats-server lets no client
 * publish to `CALLOUT_SUBJECT` in this account. A reader keeps the keys of servers it has seen.
 *
 * @param about  what the server makes it about: the account (A…), or with accounts in its configuration the issuer
 * @returns why not, for the log, when it is not one: it is then to be met with silence
 * @source  ADR-26 of nats-io/nats-architecture-and-design
 */
export function createReadCallout({ about }: { readonly about: string }): ReadCallout {
  const keys = new Map<string, KeyObject>();

  function keyOf(server: string): KeyObject | undefined {
    const known = keys.get(server);
    if (known) return known;
    const key = parsePublicNkey(server)?.kind === "server" ? keyObjectOf(server) : undefined;
    if (key) setBounded(keys, server, key, SERVERS_MAX);
    return key;
  }

  return function readCallout(token, now) {
    if (token.length > CALLOUT_BYTES_MAX) return "it is over the size limit";
    const [, head = "", body = "", tail = ""] = COMPACT.exec(token) ?? [];
    const header = head === "" ? undefined : parseStrictJson(textOf(head));
    if (header?.typ !== "JWT" || header.alg !== "ed25519-nkey") return "it is not a NATS JWT";
    const claims = parseStrictJson(textOf(body));
    if (!claims) return "its claims are not an unambiguous JSON object";
    const key = typeof claims.iss === "string" ? keyOf(claims.iss) : undefined;
    if (!key) return "its issuer is not a server's key";
    const signed = Buffer.from(token.slice(0, head.length + 1 + body.length), "latin1");
    if (!verify(null, signed, key, Buffer.from(tail, "base64url"))) return "its signature does not hold";
    return faultOf(claims, about, now) ?? readRequest(claims);
  };
}

const COMPACT = /^([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{86})$/;

/** @returns empty, which is no JSON, for bytes that are not UTF-8 */
function textOf(base64url: string): string {
  try {
    return UTF8.decode(Buffer.from(base64url, "base64url"));
  } catch {
    return "";
  }
}

const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function faultOf({ aud, sub, exp, nats }: JsonObject, about: string, now: EpochSeconds): string | undefined {
  if (aud !== "nats-authorization-request") return "its audience is another";
  if (sub !== about) return "it is about another account";
  if (typeof exp !== "number" || !(exp + CLOCK_TOLERANCE_SECONDS > now)) return "it has expired";
  if (exp > now + LIFE_SECONDS_MAX) return "it is valid for too long";
  if (!isJsonObject(nats) || nats.type !== "authorization_request" || nats.version !== 2)
    return "it is not an authorization request of version 2";
  return undefined;
}

function readRequest({ iss, nats }: JsonObject): CalloutRequest | string {
  const {
    server_id: server,
    user_nkey: userNkey,
    client_info: client,
    connect_opts: connect,
  } = membersOf(nats);
  const { id, name = "", xkey = "" } = membersOf(server);
  if (typeof id !== "string" || id !== iss) return "its server is not the one that signed it";
  if (typeof name !== "string" || typeof xkey !== "string") return "its server is not described";
  if (typeof userNkey !== "string" || parsePublicNkey(userNkey)?.kind !== "user")
    return "its user key is none";
  const readClient = readClientInfo(membersOf(client));
  const readConnect = readConnectOptions(membersOf(connect));
  if (!readClient || !readConnect) return "its client is not described";
  return {
    server: { id, name: cut(name), ...(xkey !== "" && { xkey }) },
    userNkey,
    client: readClient,
    connect: readConnect,
  };
}

function readClientInfo({
  host,
  id,
  kind,
  type,
  name,
  nonce,
}: JsonObject): CalloutRequest["client"] | undefined {
  if (typeof host !== "string" || host.length > NAME_CHARACTERS_MAX) return undefined;
  if (typeof id !== "number" || !Number.isSafeInteger(id) || id < 0) return undefined;
  if (!isText(name) || !isText(nonce)) return undefined;
  return {
    host,
    id,
    type: typeOf(kind, type),
    ...(name ? { name: cut(name) } : {}),
    ...(nonce ? { nonce } : {}),
  };
}

function readConnectOptions({
  jwt,
  sig,
  auth_token,
  pass,
}: JsonObject): CalloutRequest["connect"] | undefined {
  if (!isText(jwt) || !isText(sig) || !isText(auth_token) || !isText(pass)) return undefined;
  return {
    ...(jwt ? { jwt } : {}),
    ...(sig ? { sig } : {}),
    ...(auth_token ? { authToken: auth_token } : {}),
    ...(pass ? { password: pass } : {}),
  };
}

function typeOf(kind: Json | undefined, type: Json | undefined): ConnectionType {
  if (kind === "Leafnode") return "leafnode";
  if (kind !== "Client") return "other";
  if (type === "nats") return "standard";
  return type === "websocket" || type === "mqtt" ? type : "other";
}

function membersOf(value: Json | undefined): JsonObject {
  return isJsonObject(value) ? value : {};
}

function isText(value: Json | undefined): value is string | undefined {
  return value === undefined || typeof value === "string";
}

function cut(text: string): string {
  return text.slice(0, NAME_CHARACTERS_MAX).toWellFormed();
}

/**
 * Encodes the answer. A refusal's text reaches the server's log and its events, never the client, who is told
 * `Authorization Violation` and no more.
 */
export function encodeCalloutAnswer(
  { server, userNkey }: CalloutRequest,
  answer: { readonly jwt: string } | { readonly error: string },
  { signingKey, accountPublicKey }: AccountSigner,
  now: EpochSeconds,
): string {
  return encodeNatsJwt<"authorization_response">({
    name: "countersign",
    subject: userNkey,
    audience: server.id,
    signer: signingKey,
    issuedAt: now,
    claims: {
      type: "authorization_response",
      ...(accountPublicKey !== undefined && { issuer_account: accountPublicKey }),
      ...answer,
    },
  });
}
