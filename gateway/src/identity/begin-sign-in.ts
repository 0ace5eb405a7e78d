import {
  buildAuthorizationUrl,
  buildAuthorizationUrlWithPAR,
  type Configuration,
  calculatePKCECodeChallenge,
  randomNonce,
  randomPKCECodeVerifier,
  randomState,
} from "openid-client";
import { allowed, type Outcome, refused } from "../refusal.ts";
import type { EpochSeconds } from "../time.ts";
import { loginCookieNameOf, setCookie } from "./cookie.ts";
import type { ClientOptions, Issuer } from "./issuer.ts";
import { LOGIN_SECONDS, sealLoginState } from "./login-state.ts";
import { askProvider } from "./provider-client.ts";
import { parseReturnTo } from "./return-to.ts";
import type { SecretKey } from "./sealed-box.ts";

export interface SignInBegun {
  /** Where the browser goes now. */
  readonly location: string;
  /** A `Set-Cookie` value. */
  readonly cookie: string;
}

/**
 * Begins a sign-in: authorization code with PKCE, state and nonce, pushed where the provider takes that.
 *
 * @param redirectUri  this issuer's own
 * @returns `request_invalid` for a return-to elsewhere, `check_unavailable` when the provider does not answer,
 *   `login_failed` when it will not have us
 * @source  RFC 9700 §2.1, RFC 7636 (S256), RFC 9126 (PAR)
 */
export async function beginSignIn({
  issuer,
  client,
  redirectUri,
  returnTo,
  publicUrl,
  loginKey,
  now,
}: {
  readonly issuer: Issuer;
  readonly client: ClientOptions;
  readonly redirectUri: string;
  readonly returnTo: string;
  readonly publicUrl: string;
  readonly loginKey: SecretKey;
  readonly now: EpochSeconds;
}): Promise<Outcome<SignInBegun>> {
  const target = parseReturnTo(returnTo, publicUrl);
  if (!target.ok) return target;
  const { name } = issuer.options;
  const login = {
    issuer: name,
    state: randomState(),
    nonce: randomNonce(),
    verifier: randomPKCECodeVerifier(),
    returnTo: target.value,
  };
  const challenge = await calculatePKCECodeChallenge(login.verifier);
  const asked = await askProvider(issuer, client, now, (configuration) =>
    authorizationUrl(configuration, {
      redirect_uri: redirectUri,
      scope: scopeOf(configuration, client),
      state: login.state,
      nonce: login.nonce,
      code_challenge: challenge,
      code_challenge_method: "S256",
    }),
  );
  if (asked.kind === "unavailable") {
    return refused({ reason: "check_unavailable", check: `sign-in at ${name}`, why: asked.why });
  }
  if (asked.kind === "refused") return refused({ reason: "login_failed", step: "begin", why: asked.code });
  const location = asked.value;
  if (location.protocol !== new URL(issuer.options.url).protocol) {
    return refused({ reason: "login_failed", step: "begin", why: "the authorization endpoint is not https" });
  }
  const box = sealLoginState(loginKey, login, now);
  return allowed({
    location: location.href,
    cookie: setCookie(loginCookieNameOf(publicUrl), box, LOGIN_SECONDS),
  });
}

async function authorizationUrl(
  configuration: Configuration,
  parameters: Record<string, string>,
): Promise<URL> {
  const pushed = configuration.serverMetadata().pushed_authorization_request_endpoint !== undefined;
  return pushed
    ? buildAuthorizationUrlWithPAR(configuration, parameters)
    : buildAuthorizationUrl(configuration, parameters);
}

/** A provider that does not list `offline_access` may refuse a request that has it. */
function scopeOf(configuration: Configuration, client: ClientOptions): string {
  if (client.scope !== undefined) return client.scope;
  const offline = configuration.serverMetadata().scopes_supported?.includes("offline_access");
  return offline ? "openid profile offline_access" : "openid profile";
}
