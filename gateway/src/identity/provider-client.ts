import type { KeyObject } from "node:crypto";
import {
  allowInsecureRequests,
  type ClientAuth,
  ClientSecretBasic,
  ClientSecretPost,
  Configuration,
  type CryptoKey,
  customFetch,
  PrivateKeyJwt,
  type ServerMetadata,
} from "openid-client";
import { messageOf } from "../errors.ts";
import type { EpochSeconds } from "../time.ts";
import type { ClientOptions, Issuer } from "./issuer.ts";
import type { JsonObject } from "./strict-json.ts";

/**
 * What came of asking a provider. `refused`: it said no, by this error code of OAuth or of the client library.
 * `unavailable`: it did not answer, or not as a provider does.
 */
export type Asked<T> =
  | { readonly kind: "answered"; readonly value: T }
  | { readonly kind: "refused"; readonly code: string }
  | { readonly kind: "unavailable"; readonly why: string };

/**
 * Asks a provider as its client. All requests go through the issuer's own bounded and pinned fetch.
 *
 * The configuration is made anew each time: sign-ins are rare, and secrets and keys may have been rotated.
 *
 * @param ask  one conversation with openid-client; what it throws is told apart here
 */
export async function askProvider<T>(
  issuer: Issuer,
  client: ClientOptions,
  now: EpochSeconds,
  ask: (configuration: Configuration) => Promise<T>,
): Promise<Asked<T>> {
  let failure: string | undefined;
  let document: JsonObject;
  try {
    ({ document } = await issuer.metadata(now));
  } catch (error) {
    return { kind: "unavailable", why: messageOf(error) };
  }
  try {
    const configuration = new Configuration(
      document as unknown as ServerMetadata,
      client.id,
      {},
      await clientAuthOf(client, document),
    );
    // The issuer's URL was checked when it was configured: plain HTTP is there only for this machine.
    if (issuer.options.url.startsWith("http:")) allowInsecureRequests(configuration);
    configuration[customFetch] = async (url, { method, headers, body }) => {
      try {
        const answer = await issuer.fetch(url, {
          method: method === "POST" ? "POST" : "GET",
          headers,
          ...(body && { body: String(body) }),
        });
        if (answer.status >= 500 || answer.status === 429) failure = `The provider answered ${answer.status}`;
        const content = answer.body.length > 0 ? new Uint8Array(answer.body) : null;
        return new Response(content, { status: answer.status, headers: definedOf(answer.headers) });
      } catch (error) {
        failure = messageOf(error);
        throw error;
      }
    };
    return { kind: "answered", value: await ask(configuration) };
  } catch (error) {
    if (failure !== undefined) return { kind: "unavailable", why: failure };
    const code = codeOf(error);
    return code === undefined ? { kind: "unavailable", why: messageOf(error) } : { kind: "refused", code };
  }
}

/** @source  OpenID Connect Discovery §3: where a provider lists no methods, it means client_secret_basic */
async function clientAuthOf(client: ClientOptions, document: JsonObject): Promise<ClientAuth> {
  if (client.key) {
    const key = await privateKeyOf(client.key());
    // The assertion's audience is the issuer alone: one for the token endpoint's URL could be replayed elsewhere.
    return PrivateKeyJwt(client.keyId === undefined ? key : { key, kid: client.keyId });
  }
  const secret = client.secret?.() ?? "";
  const methods = document.token_endpoint_auth_methods_supported;
  const basic = !Array.isArray(methods) || methods.includes("client_secret_basic");
  return basic ? ClientSecretBasic(secret) : ClientSecretPost(secret);
}

async function privateKeyOf(key: KeyObject): Promise<CryptoKey> {
  const algorithm =
    key.asymmetricKeyType === "rsa"
      ? { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" }
      : key.asymmetricKeyType === "ec"
        ? { name: "ECDSA", namedCurve: "P-256" }
        : { name: "Ed25519" };
  const pkcs8 = new Uint8Array(key.export({ type: "pkcs8", format: "der" }));
  return crypto.subtle.importKey("pkcs8", pkcs8, algorithm, false, ["sign"]);
}

/**
 * The code of an OAuth error answer (`invalid_grant`) or of the client library; never a message, since those may
 * repeat what the provider or the caller wrote.
 */
function codeOf(error: unknown): string | undefined {
  if (typeof error !== "object" || error === null) return undefined;
  const { error: oauthCode, code } = error as { readonly error?: unknown; readonly code?: unknown };
  for (const found of [oauthCode, code]) {
    if (typeof found === "string" && /^[A-Za-z0-9_]{1,64}$/.test(found)) return found;
  }
  return undefined;
}

function definedOf(headers: Readonly<Record<string, string | undefined>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) => (value ? [[name, value]] : [])),
  );
}
