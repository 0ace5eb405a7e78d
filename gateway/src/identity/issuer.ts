import type { KeyObject } from "node:crypto";
import { GatewayError } from "../errors.ts";
import type { EpochSeconds } from "../time.ts";
import { isLoopbackHost, type Reach } from "./addresses.ts";
import { type AttributeMap, DEFAULT_ATTRIBUTES } from "./attributes.ts";
import { createKeySource, type KeySource, RETRY_SECONDS } from "./jwks.ts";
import {
  createProviderFetch,
  type ProviderAnswer,
  type ProviderFetch,
  type ResolveHost,
} from "./provider-fetch.ts";
import { type JsonObject, parseStrictJson } from "./strict-json.ts";

/** Seconds a discovery document is believed; its endpoints change with a provider's migration, never by the hour. */
const DISCOVERY_SECONDS = 3_600;

export interface IssuerOptions {
  /** The issuer's name in the configuration, `[a-z0-9]+`: the part of `user` before the first `-`. */
  readonly name: string;
  /** The issuer identifier, compared exactly with `iss`. https, or http on loopback. */
  readonly url: string;
  /** Entra's tenant id: the user's id is then `oid`, and `tid` must be this. */
  readonly entraTenant?: string;
  /** What `aud` of an access token must name. */
  readonly audience: string;
  /** Other audiences that a token of ours may name besides. Default none: such a token was made for others too. */
  readonly audiencesBesides?: readonly string[];
  /** Whether every token of this issuer is a service's (Kubernetes). */
  readonly kind?: "service";
  /** Which claims feed which attribute. Default: `groups` and `roles` from the claims of the same name. */
  readonly attributes?: AttributeMap;
  /** `host[:port]` besides the issuer's own where its keys and its token endpoint may stand (Google needs this). */
  readonly hosts?: readonly string[];
  /** Whether the provider stands in one's own network, so that private addresses are right. Default false. */
  readonly privateNetwork?: boolean;
  /** Accepted clock difference for `iat` and `nbf`, seconds, 0–300. Default 30. */
  readonly clockToleranceSeconds?: number;
  /** Absent: bearer tokens only, nobody signs in here. */
  readonly client?: ClientOptions;
}

/** The gateway as the provider knows it. */
export interface ClientOptions {
  readonly id: string;
  /** Exactly one of the two; functions, so that a rotated secret is taken up without a restart. */
  readonly secret?: () => string;
  /** For private_key_jwt (RFC 7523): RSA (RS256), P-256 (ES256) or Ed25519. */
  readonly key?: () => KeyObject;
  /** The key's id at the provider, for private_key_jwt. */
  readonly keyId?: string;
  /** Default `openid profile`, and `offline_access` where the provider lists it. */
  readonly scope?: string;
}

/** A configured issuer with its connections. */
export interface Issuer {
  readonly options: IssuerOptions;
  readonly attributes: AttributeMap;
  readonly clockToleranceSeconds: number;
  /** Bounded, pinned; for the provider's endpoints. */
  readonly fetch: ProviderFetch;
  readonly keys: KeySource;
  /** The discovery document, checked. Rejects when the provider does not answer or answers for another issuer. */
  metadata(now: EpochSeconds): Promise<ProviderMetadata>;
}

/** What of a discovery document we use, checked; `document` is all of it, for openid-client. */
export interface ProviderMetadata {
  readonly jwksUri: string;
  readonly document: JsonObject;
}

export interface Issuers {
  readonly all: readonly Issuer[];
  /** By `iss`, exactly. */
  byUrl(url: string): Issuer | undefined;
  byName(name: string): Issuer | undefined;
}

/**
 * @throws GatewayError `CONFIG_INVALID` naming the issuer and the option
 */
export function createIssuers(
  options: readonly IssuerOptions[],
  parts: { readonly resolve?: ResolveHost } = {},
): Issuers {
  const all = options.map((each) => createIssuer(each, parts));
  const byUrl = new Map(all.map((issuer) => [issuer.options.url, issuer]));
  const byName = new Map(all.map((issuer) => [issuer.options.name, issuer]));
  if (byUrl.size < all.length || byName.size < all.length) {
    throw new GatewayError("CONFIG_INVALID", "Cannot use issuers: two of them share a name or a URL");
  }
  return { all, byUrl: (url) => byUrl.get(url), byName: (name) => byName.get(name) };
}

function createIssuer(options: IssuerOptions, { resolve }: { readonly resolve?: ResolveHost }): Issuer {
  checkOptions(options);
  const fetchOptions = { reach: reachOf(options), ...(resolve && { resolve }) };
  // Apart from sign-ins, so that a flood of those does not keep us from the keys that tokens are verified with.
  const fetch = createProviderFetch(fetchOptions);
  const metadata = rememberMetadata(() => discover(options, fetch));
  const keys = createKeySource(async (now) => {
    const answer = await fetch((await metadata(now)).jwksUri);
    return { text: bodyOf(answer, "keys"), ...maxAgeOf(answer) };
  });
  return {
    options,
    attributes: options.attributes ?? DEFAULT_ATTRIBUTES,
    clockToleranceSeconds: options.clockToleranceSeconds ?? 30,
    fetch: createProviderFetch(fetchOptions),
    keys,
    metadata,
  };
}

function checkOptions({ name, url, clockToleranceSeconds = 30, client }: IssuerOptions): void {
  const fail = (why: string): never => {
    throw new GatewayError("CONFIG_INVALID", `Cannot use issuer "${name}": ${why}`);
  };
  if (!/^[a-z0-9]+$/.test(name)) fail("its name must be of a-z and 0-9");
  const parsed = URL.canParse(url) ? new URL(url) : fail(`"${url}" is not a URL`);
  const secure =
    parsed.protocol === "https:" || (parsed.protocol === "http:" && isLoopbackHost(parsed.hostname));
  if (!secure) fail(`its URL must begin with https://, found "${url}"`);
  if (parsed.search || parsed.hash || parsed.username) fail("its URL must have no query, fragment or user");
  if (!(clockToleranceSeconds >= 0 && clockToleranceSeconds <= 300))
    fail("clock tolerance must be 0 to 300 s");
  if (client && (client.secret === undefined) === (client.key === undefined)) {
    fail("its client needs either a secret or a key");
  }
}

function reachOf({ url, privateNetwork }: IssuerOptions): Reach {
  if (isLoopbackHost(new URL(url).hostname)) return "loopback";
  return privateNetwork ? "private" : "public";
}

/** @source  OpenID Connect Discovery 1.0 §4: the document's `issuer` must be the one asked, character by character */
async function discover(options: IssuerOptions, fetch: ProviderFetch): Promise<ProviderMetadata> {
  const answer = await fetch(`${options.url.replace(/\/$/, "")}/.well-known/openid-configuration`);
  const document = parseStrictJson(bodyOf(answer, "discovery document"));
  if (!document) throw new Error("The discovery document is not an unambiguous JSON object");
  if (document.issuer !== options.url) throw new Error("The discovery document is another issuer's");
  const jwksUri = placeOf(document.jwks_uri, options);
  if (jwksUri === undefined)
    throw new Error("jwks_uri is missing or stands at a host that is not this issuer's");
  for (const name of ["token_endpoint", "pushed_authorization_request_endpoint"]) {
    if (document[name] !== undefined && placeOf(document[name], options) === undefined) {
      throw new Error(`${name} stands at a host that is not this issuer's`);
    }
  }
  return { jwksUri, document };
}

/** A URL of the document that we ask ourselves: at the issuer's own host and scheme, or a host configured for it. */
function placeOf(value: unknown, { url, hosts = [] }: IssuerOptions): string | undefined {
  if (typeof value !== "string" || !URL.canParse(value)) return undefined;
  const place = new URL(value);
  const issuer = new URL(url);
  const known = place.host === issuer.host || hosts.includes(place.host);
  return known && place.protocol === issuer.protocol && place.username === "" ? value : undefined;
}

function bodyOf(answer: ProviderAnswer, what: string): string {
  // A redirect is an answer like any other that is not 200: it is not followed, wherever it points.
  if (answer.status !== 200) throw new Error(`The provider answered ${answer.status} for its ${what}`);
  return answer.body.toString("utf8");
}

function maxAgeOf(answer: ProviderAnswer): { readonly maxAgeSeconds?: number } {
  const found = /(?:^|[\s,])max-age=(\d{1,9})(?:$|[\s,])/i.exec(answer.headers["cache-control"] ?? "");
  return found ? { maxAgeSeconds: Number(found[1]) } : {};
}

/** Keeps one document, asks once for all who wait, and after a failure leaves the provider alone for a while. */
function rememberMetadata(
  load: () => Promise<ProviderMetadata>,
): (now: EpochSeconds) => Promise<ProviderMetadata> {
  let known: { readonly value: ProviderMetadata; readonly until: EpochSeconds } | undefined;
  let failed: { readonly error: unknown; readonly until: EpochSeconds } | undefined;
  let loading: Promise<ProviderMetadata> | undefined;

  async function reload(now: EpochSeconds): Promise<ProviderMetadata> {
    try {
      const value = await load();
      known = { value, until: now + DISCOVERY_SECONDS };
      failed = undefined;
      return value;
    } catch (error) {
      failed = { error, until: now + RETRY_SECONDS };
      throw error;
    }
  }

  return async function metadata(now) {
    if (known && now < known.until) return known.value;
    if (!loading && failed && now < failed.until) throw failed.error;
    loading ??= reload(now).finally(() => {
      loading = undefined;
    });
    return loading;
  };
}
