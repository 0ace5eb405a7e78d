import type { KeyObject } from "node:crypto";
import { decodeBase64url } from "./base64url.ts";
import { signEs256, verifyEs256 } from "./es256.ts";
import { SealError } from "./seal-error.ts";
import { parseStrictJson } from "./strict-json.ts";

/** `typ` of a seal that is a token of its own (draft-ietf-oauth-transaction-tokens), and of a tree's root. */
export type JwsType = "txntoken+jwt" | "seal-root+jwt";

const KID = /^[A-Za-z0-9_-]{1,64}$/;

/** Whether it can name a key (`kid`): 1 to 64 of A-Z a-z 0-9 _ -, and so never a path, a URL or a query. */
export function isKid(value: unknown): value is string {
  return typeof value === "string" && KID.test(value);
}

/** A compact JWS whose header was judged and whose signature was not. */
export interface Jws {
  readonly kid: string;
  readonly payload: Buffer;
  readonly signingInput: string;
  readonly signature: Buffer;
}

const HEADER_BOUNDS = { bytesMax: 1_024, depthMax: 4 };

/** @returns a compact JWS (RFC 7515 §3.1) */
export function makeJws(
  { typ, kid, privateKey }: { readonly typ: JwsType; readonly kid: string; readonly privateKey: KeyObject },
  payload: string,
): string {
  const header = base64urlOf(`{"alg":"ES256","typ":"${typ}","kid":"${kid}"}`);
  const signingInput = `${header}.${base64urlOf(payload)}`;
  return `${signingInput}.${signEs256(signingInput, privateKey).toString("base64url")}`;
}

/**
 * Takes a compact JWS apart and judges its header: exactly `alg`, `typ` and `kid`. A key or an address of one in the
 * header (`jwk`, `jku`, `x5u`) is refused, not merely unused; so is `crit` (RFC 7515 §4.1).
 *
 * @param text  its length already bounded
 * @throws SealError `encoding_invalid`, `typ_wrong`, `alg_wrong`, `header_invalid`
 */
export function parseJws(text: string, typ: JwsType): Jws {
  const parts = text.split(".");
  const [header, payload, signature] = parts.map(decodeBase64url);
  if (parts.length !== 3 || !header || !payload || !signature) {
    throw new SealError("encoding_invalid", "The seal is not a compact JWS");
  }
  const parsed = parseStrictJson(header, HEADER_BOUNDS);
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) {
    throw new SealError("encoding_invalid", "The JWS header is not a strict JSON object");
  }
  const members: Readonly<Record<string, unknown>> = { ...parsed };
  if (members.typ !== typ) throw new SealError("typ_wrong", `The JWS header has another typ than ${typ}`);
  if (members.alg !== "ES256") throw new SealError("alg_wrong", "The JWS header has another alg than ES256");
  const { kid } = members;
  if (!isKid(kid) || Object.keys(members).length !== 3) {
    throw new SealError("header_invalid", "The JWS header is not exactly alg, typ and a well-formed kid");
  }
  return { kid, payload, signature, signingInput: text.slice(0, text.lastIndexOf(".")) };
}

/** @throws SealError `signature_wrong` */
export function checkSignature(jws: Jws, key: KeyObject): void {
  if (!verifyEs256(jws.signingInput, jws.signature, key)) {
    throw new SealError("signature_wrong", "The seal was not signed by the key it names");
  }
}

function base64urlOf(text: string): string {
  return Buffer.from(text, "utf8").toString("base64url");
}
