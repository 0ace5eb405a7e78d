import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { Provider } from "oidc-provider";
import { DEMO_SERVICE, DEMO_USERS, type DemoUserId, findDemoUser } from "./demo-users.ts";
import {
  GATEWAY_CLIENT,
  type OidcConfigurationOptions,
  oidcConfiguration,
  registerDemoUserGrant,
} from "./oidc-configuration.ts";
import { signInPage } from "./oidc-pages.ts";
import { createOidcStore } from "./oidc-store.ts";
import { createSigningJwk, loadOrCreateJson, type SigningJwk, signJwt } from "./signing-keys.ts";

/** A sign-in form is a few dozen bytes. */
const FORM_BYTES_MAX = 4096;

export interface IdentityProviderOptions {
  /** On 127.0.0.1. Default: a free one. */
  readonly port?: number;
  /** The gateway's `public-url`, for its redirect and logout URIs. Absent: nobody signs in through a browser. */
  readonly gatewayUrl?: string;
  /** What stands in `aud` of access tokens. Default `countersign`. */
  readonly audience?: string;
  /** Life of an access token. Default 600. */
  readonly accessTokenSeconds?: number;
  /** Where signing keys and client secrets are kept. Default: nowhere, new ones each time. */
  readonly folder?: string;
}

/** A running OpenID provider with the demo users. */
export interface IdentityProvider {
  /** `http://localhost:<port>`: another site than the gateway's 127.0.0.1, as in real life. */
  readonly issuer: string;
  readonly port: number;
  /** The gateway's client: id, and the secret for `client_secret_basic`. */
  readonly gatewayClient: { readonly id: string; readonly secret: string };
  readonly serviceClient: { readonly id: string; readonly secret: string };
  /** An access token as the provider itself would issue it (RFC 9068), but for what the overrides say. */
  readonly tokenFor: (who: DemoUserId | typeof DEMO_SERVICE, overrides?: TokenOverrides) => string;
  /** Signs anything with the current key: logout tokens, broken tokens. */
  readonly sign: (claims: object, header?: object) => string;
  /** Signs with a new key from now on. The former ones stay in the key set unless told otherwise. */
  readonly rotateKeys: (options?: { readonly dropFormer?: boolean }) => Promise<void>;
  /** Requests so far, by path: how often somebody fetched the key set. */
  readonly requests: ReadonlyMap<string, number>;
  readonly stop: () => Promise<void>;
}

export interface TokenOverrides {
  /** Put over the usual claims; undefined takes one away. */
  readonly claims?: Readonly<Record<string, unknown>>;
  /** Put over `{ alg, kid, typ: "at+jwt" }`; undefined takes one away. */
  readonly header?: Readonly<Record<string, unknown>>;
}

interface Secrets {
  keys: SigningJwk[];
  readonly cookieKeys: readonly string[];
  readonly gatewaySecret: string;
  readonly serviceSecret: string;
}

/**
 * Starts the demo identity provider: authorization code with PKCE, refresh tokens and back-channel logout for
 * the gateway, client credentials for the machine client, and a grant for scripts that needs no page.
 */
export async function startIdentityProvider({
  port = 0,
  gatewayUrl,
  audience = "countersign",
  accessTokenSeconds = 600,
  folder,
}: IdentityProviderOptions = {}): Promise<IdentityProvider> {
  const file = folder === undefined ? undefined : join(folder, "identity-provider.json");
  const secrets = file === undefined ? createSecrets() : await loadOrCreateJson(file, createSecrets);
  const requests = new Map<string, number>();
  let handle: RequestListener = (_request, response) => response.writeHead(503).end();
  const server = createServer((request, response) => {
    const path = new URL(request.url ?? "/", "http://localhost").pathname;
    requests.set(path, (requests.get(path) ?? 0) + 1);
    handle(request, response);
  });
  server.listen(port, "127.0.0.1");
  await once(server, "listening");

  const listening = (server.address() as AddressInfo).port;
  const issuer = `http://localhost:${listening}`;
  const store = createOidcStore();
  const rebuild = (): void => {
    const options = { ...secrets, audience, accessTokenSeconds, store };
    handle = createHandler(issuer, gatewayUrl === undefined ? options : { ...options, gatewayUrl });
  };
  rebuild();

  const currentKey = (): SigningJwk => secrets.keys[0] ?? createSigningJwk();
  return {
    issuer,
    port: listening,
    gatewayClient: { id: GATEWAY_CLIENT, secret: secrets.gatewaySecret },
    serviceClient: { id: DEMO_SERVICE, secret: secrets.serviceSecret },
    tokenFor: (who, { claims, header } = {}) => {
      const usual = { ...claimsFor(who), iss: issuer, aud: audience, ...timesFor(accessTokenSeconds) };
      return signJwt(currentKey(), { ...usual, ...claims }, { typ: "at+jwt", ...header });
    },
    sign: (claims, header) => signJwt(currentKey(), claims, header),
    // oidc-provider cannot change its keys while it runs: another one takes its place, over the same store.
    rotateKeys: async ({ dropFormer = false } = {}) => {
      secrets.keys = [createSigningJwk(), ...(dropFormer ? [] : secrets.keys)];
      if (file !== undefined) await writeFile(file, JSON.stringify(secrets), { mode: 0o600 });
      rebuild();
    },
    requests,
    stop: async () => {
      const closed = server.listening ? once(server, "close") : undefined;
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

function createSecrets(): Secrets {
  const secret = (): string => randomBytes(32).toString("base64url");
  return {
    keys: [createSigningJwk()],
    cookieKeys: [secret()],
    gatewaySecret: secret(),
    serviceSecret: secret(),
  };
}

function createHandler(issuer: string, options: OidcConfigurationOptions): RequestListener {
  const provider = new Provider(issuer, oidcConfiguration(options));
  registerDemoUserGrant(provider, options);
  const standard = provider.callback();
  return (request, response) => {
    if (!request.url?.startsWith("/sign-in/")) return standard(request, response);
    signIn(provider, request, response).catch((error: unknown) => {
      response.writeHead(400, { "content-type": "text/plain" }).end(String(error));
    });
  };
}

async function signIn(provider: Provider, request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (request.method === "POST") {
    const user = findDemoUser(new URLSearchParams(await readForm(request)).get("user") ?? undefined);
    if (user === undefined) throw new Error("no demo user is called that");
    const login = { accountId: user.id, acr: user.acr, amr: [user.acr] };
    await provider.interactionFinished(request, response, { login });
    return;
  }
  const { uid } = await provider.interactionDetails(request, response);
  response.writeHead(200, { "content-type": "text/html; charset=utf-8", "cache-control": "no-store" });
  response.end(signInPage(`/sign-in/${uid}`));
}

async function readForm(request: IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of request.setEncoding("utf8")) {
    text += chunk;
    if (text.length > FORM_BYTES_MAX) throw new Error("the form is too large");
  }
  return text;
}

function claimsFor(who: DemoUserId | typeof DEMO_SERVICE): object {
  if (who === DEMO_SERVICE) return { sub: DEMO_SERVICE, client_id: DEMO_SERVICE };
  const { id, name, groups, region, acr } = DEMO_USERS[who];
  return { sub: id, client_id: GATEWAY_CLIENT, name, groups, region, acr };
}

function timesFor(seconds: number): object {
  const now = Math.floor(Date.now() / 1000);
  return { iat: now, exp: now + seconds, jti: randomBytes(16).toString("base64url") };
}
