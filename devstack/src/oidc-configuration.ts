import { type Context, interactionPolicy, type Provider } from "oidc-provider";
import { DEMO_SERVICE, findDemoUser } from "./demo-users.ts";
import { errorPage, signedOutPage, signOutPage } from "./oidc-pages.ts";
import type { SigningJwk } from "./signing-keys.ts";

/** The client as which the gateway signs browsers in. */
export const GATEWAY_CLIENT = "gw";
/** The public client with which scripts ask for a demo user's token; there is nothing like it outside a demo. */
export const SCRIPT_CLIENT = "devstack";
/** Extension grant (RFC 6749 §4.5) of that client: `user` = id of a demo user. No password, no page. */
export const DEMO_USER_GRANT = "urn:countersign:devstack:demo-user";

/** oidc-provider wants an absolute URI for a resource (RFC 8707 §2); what stands in `aud` is `audience`. */
const RESOURCE = "urn:countersign:devstack:gateway";
const SCOPES = ["openid", "profile", "email", "offline_access"];

export interface OidcConfigurationOptions {
  readonly keys: readonly SigningJwk[];
  readonly cookieKeys: readonly string[];
  readonly gatewaySecret: string;
  readonly serviceSecret: string;
  /** The gateway's `public-url`; absent: nobody signs in through a browser. */
  readonly gatewayUrl?: string;
  readonly audience: string;
  readonly accessTokenSeconds: number;
  readonly store: new (kind: string) => object;
}

/** The configuration of oidc-provider. Whatever it would warn of as a mere default is set here. */
export function oidcConfiguration(options: OidcConfigurationOptions): object {
  return {
    adapter: options.store,
    jwks: { keys: options.keys },
    cookies: { keys: options.cookieKeys, short: { signed: true }, long: { signed: true } },
    clients: clientsOf(options),
    clientDefaults: { id_token_signed_response_alg: "ES256" },
    enabledJWA: { idTokenSigningAlgValues: ["ES256"] },
    responseTypes: ["code"],
    scopes: SCOPES,
    claims: { openid: ["sub", "name", "groups", "region", "acr"], auth_time: null, iss: null, sid: null },
    acrValues: ["pwd", "mfa"],
    pkce: { required: () => true },
    clientBasedCORS: () => false,
    ttl: {
      AccessToken: options.accessTokenSeconds,
      ClientCredentials: options.accessTokenSeconds,
      IdToken: 600,
      Interaction: 600,
      Session: 86_400,
      Grant: 86_400,
      RefreshToken: 86_400,
    },
    // A refresh token outlives the page in which one signed in; signing out at the provider revokes its grant.
    expiresWithSession: () => false,
    issueRefreshToken: () => true,
    findAccount: (_context: Context, id: string) => accountOf(id),
    extraTokenClaims: (_context: Context, token: { readonly accountId?: string }) =>
      claimsOf(token.accountId),
    loadExistingGrant: grantEverything,
    interactions: {
      url: (_context: Context, { uid }: { uid: string }) => `/sign-in/${uid}`,
      policy: prompts(),
    },
    features: {
      devInteractions: { enabled: false },
      userinfo: { enabled: false },
      clientCredentials: { enabled: true },
      backchannelLogout: { enabled: true },
      rpInitiatedLogout: {
        logoutSource: (context: Context, form: string) => show(context, signOutPage(form)),
        postLogoutSuccessSource: (context: Context) => show(context, signedOutPage()),
      },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => RESOURCE,
        useGrantedResource: () => true,
        getResourceServerInfo: () => resourceServerInfo(options),
      },
    },
    renderError: (context: Context, out: { error: string; error_description?: string }) =>
      show(context, errorPage(out.error, out.error_description)),
    // The back-channel goes to 127.0.0.1, which oidc-provider's own dispatcher keeps servers from reaching.
    fetch: (url: string, { dispatcher: _, ...init }: RequestInit & { dispatcher?: unknown }) =>
      fetch(url, init),
  };
}

/** Adds the way for scripts to get a demo user's token without a page. */
export function registerDemoUserGrant(provider: Provider, options: OidcConfigurationOptions): void {
  provider.registerGrantType(
    DEMO_USER_GRANT,
    async (context) => {
      const user = findDemoUser(context.oidc.params.user);
      if (user === undefined) {
        throw Object.assign(new Error("invalid_grant"), {
          statusCode: 400,
          expose: true,
          error: "invalid_grant",
          error_description: "no demo user is called that",
        });
      }
      const token = new provider.AccessToken({ client: context.oidc.client, accountId: user.id });
      token.resourceServer = new provider.ResourceServer(RESOURCE, resourceServerInfo(options));
      context.body = {
        access_token: await token.save(),
        expires_in: token.expiration,
        token_type: "Bearer",
      };
    },
    ["user"],
  );
}

function clientsOf({
  gatewayUrl,
  gatewaySecret,
  serviceSecret,
}: OidcConfigurationOptions): readonly object[] {
  const scriptClient = {
    client_id: SCRIPT_CLIENT,
    token_endpoint_auth_method: "none",
    grant_types: [DEMO_USER_GRANT],
    redirect_uris: [],
    response_types: [],
  };
  const service = {
    client_id: DEMO_SERVICE,
    client_secret: serviceSecret,
    grant_types: ["client_credentials"],
    redirect_uris: [],
    response_types: [],
  };
  if (gatewayUrl === undefined) return [scriptClient, service];
  const base = gatewayUrl.replace(/\/$/, "");
  const gateway = {
    client_id: GATEWAY_CLIENT,
    client_secret: gatewaySecret,
    grant_types: ["authorization_code", "refresh_token"],
    redirect_uris: [`${base}/auth/callback`],
    post_logout_redirect_uris: [`${base}/`, `${base}/demo`],
    backchannel_logout_uri: `${base}/auth/backchannel-logout`,
    backchannel_logout_session_required: true,
  };
  return [scriptClient, service, gateway];
}

function resourceServerInfo({ audience, accessTokenSeconds }: OidcConfigurationOptions): object {
  return {
    scope: "",
    audience,
    accessTokenTTL: accessTokenSeconds,
    accessTokenFormat: "jwt",
    jwt: { sign: { alg: "ES256" } },
  };
}

function accountOf(id: string): object | undefined {
  if (findDemoUser(id) === undefined) return undefined;
  return { accountId: id, claims: () => ({ sub: id, ...claimsOf(id) }) };
}

function claimsOf(id: string | undefined): object {
  const user = findDemoUser(id);
  if (user === undefined) return {};
  return { name: user.name, groups: user.groups, region: user.region, acr: user.acr };
}

/** Nobody is asked for consent: the gateway is the provider's own application. */
async function grantEverything(context: Context): Promise<object> {
  const { client, session, provider } = context.oidc;
  const grant = new provider.Grant({ clientId: client.clientId, accountId: session.accountId });
  grant.addOIDCScope(SCOPES.join(" "));
  await grant.save();
  return grant;
}

/** The sign-in page is shown even to those who are signed in here already, so that a demo can change users. */
function prompts(): object {
  const policy = interactionPolicy.base();
  const { Check } = interactionPolicy;
  policy
    .get("login")
    .checks.add(
      new Check("choose_user", "a demo asks every time who you are", ({ oidc }) =>
        oidc.result?.login !== undefined || oidc.prompts.has("none")
          ? Check.NO_NEED_TO_PROMPT
          : Check.REQUEST_PROMPT,
      ),
    );
  return policy;
}

function show(context: Context, html: string): void {
  context.type = "html";
  context.body = html;
}
