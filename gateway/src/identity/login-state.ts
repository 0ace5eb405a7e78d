import type { EpochSeconds } from "../time.ts";
import { openBox, type SecretKey, sealBox } from "./sealed-box.ts";
import { parseStrictJson } from "./strict-json.ts";

/** From the start of a sign-in to its end: time for a password, a second factor and a phone that lies elsewhere. */
export const LOGIN_SECONDS = 600;
/** Characters of the cookie; browsers keep 4,096 bytes of name, value and attributes. */
const BOX_MAX = 3_584;
const CONTEXT = "countersign login v1";

/** What a sign-in must remember; it travels in the browser's cookie, so that strangers cost the server no memory. */
export interface LoginState {
  /** The issuer's name. */
  readonly issuer: string;
  readonly state: string;
  readonly nonce: string;
  /** PKCE's code verifier: the cookie must be sealed, not only signed. */
  readonly verifier: string;
  /** Already judged by `parseReturnTo`. */
  readonly returnTo: string;
}

export function sealLoginState(key: SecretKey, login: LoginState, now: EpochSeconds): string {
  return sealBox(key(), JSON.stringify({ ...login, until: now + LOGIN_SECONDS }), CONTEXT);
}

/** @returns undefined when we did not make it, or made it more than ten minutes ago */
export function openLoginState(key: SecretKey, box: string, now: EpochSeconds): LoginState | undefined {
  const text = box.length <= BOX_MAX ? openBox(key(), box, CONTEXT) : undefined;
  const { issuer, state, nonce, verifier, returnTo, until } = (text && parseStrictJson(text)) || {};
  if (typeof until !== "number" || now >= until) return undefined;
  if (typeof issuer !== "string" || typeof state !== "string" || typeof nonce !== "string") return undefined;
  if (typeof verifier !== "string" || typeof returnTo !== "string") return undefined;
  return { issuer, state, nonce, verifier, returnTo };
}
