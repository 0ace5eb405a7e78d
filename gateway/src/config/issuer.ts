import { createPrivateKey, type KeyObject } from "node:crypto";
import { z } from "zod";
import { GatewayError } from "../errors.ts";
import {
  checkEdgeIssuer,
  type EdgeIssuerConfig,
  edgeIssuerOf,
  edgeIssuerShape,
  edgeKindOf,
} from "./edge-issuer.ts";
import { type ReadText, secret } from "./secret.ts";
import { section } from "./section.ts";
import {
  dangerous,
  durationSeconds,
  isLoopback,
  matching,
  type SchemaContext,
  shown,
  text,
} from "./values.ts";

/** All issuers, in the order of the file. */
export interface IssuersConfig {
  /** Providers of tokens. */
  readonly issuers: readonly IssuerConfig[];
  /** Those whose word comes by what stands in front. */
  readonly edgeIssuers: readonly EdgeIssuerConfig[];
}

/** One identity provider whose tokens are believed. */
export interface IssuerConfig {
  /** `[a-z0-9]+`: the part of `user` before the first `-`. */
  readonly name: string;
  /** The issuer identifier, compared exactly with `iss`. */
  readonly url: string;
  readonly entraTenant?: string;
  readonly audience: string;
  readonly audiencesBesides: readonly string[];
  readonly kind?: "service";
  /** Attribute name → claims that feed it, their values united. Absent = the default of the identity part. */
  readonly attributes?: Readonly<Record<string, readonly string[]>>;
  readonly hosts: readonly string[];
  readonly privateNetwork: boolean;
  readonly clockToleranceSeconds: number;
  /** Absent: bearer tokens only. */
  readonly client?: ClientConfig;
}

export interface ClientConfig {
  readonly id: string;
  readonly secret?: ReadText;
  /** @throws GatewayError CONFIG_INVALID */
  readonly key?: () => KeyObject;
  readonly keyId?: string;
  readonly scope?: string;
}

const ISSUERS_MAX = 32;
const GUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const PRINTABLE = /^[\x21-\x7e]{1,256}$/;

const printable = (expected: string) =>
  matching(`${expected}, 1–256 printable characters without spaces`, PRINTABLE);

export function issuersSchema(context: SchemaContext): z.ZodType<IssuersConfig> {
  return (
    z
      .record(z.string(), issuerSchema(context))
      // Not as the record's key schema: zod would then leave the value under a wrong name unchecked.
      .superRefine(checkNames, { when: ({ value }) => typeof value === "object" && value !== null })
      .transform((byName): IssuersConfig => {
        const named = Object.entries(byName).map(([name, configOf]) => configOf(name));
        return {
          issuers: named.filter(speaksInTokens),
          edgeIssuers: named.filter((config): config is EdgeIssuerConfig => !speaksInTokens(config)),
        };
      })
  );
}

function checkNames(byName: Readonly<Record<string, unknown>>, issues: z.core.$RefinementCtx): void {
  const names = Object.keys(byName);
  if (names.length === 0)
    issues.addIssue("expected at least one issuer; without one nobody can prove who they are");
  if (names.length > ISSUERS_MAX) issues.addIssue(`expected at most ${ISSUERS_MAX} issuers`);
  for (const name of names.filter((given) => !/^[a-z0-9]{1,32}$/.test(given))) {
    const message =
      "expected a name of [a-z0-9], 1–32 characters: a user is <issuer>-<id>, so the first - divides";
    issues.addIssue({ code: "custom", path: [name], message });
  }
}

function speaksInTokens(config: IssuerConfig | EdgeIssuerConfig): config is IssuerConfig {
  return "url" in config;
}

type Named = (name: string) => IssuerConfig | EdgeIssuerConfig;

function issuerSchema(context: SchemaContext): z.ZodType<Named> {
  return section({
    url: issuerUrl()
      .optional()
      .meta({ description: "Issuer identifier, exactly as in `iss`; https, or http on loopback." }),
    "entra-tenant": matching("a tenant id like 9f2c0000-0000-0000-0000-000000000000, lower case", GUID)
      .optional()
      .meta({ description: "Tenant id of Microsoft Entra, instead of `url`." }),
    audience: printable("an audience")
      .optional()
      .meta({ description: "What `aud` of an access token must name; an issuer of tokens needs it." }),
    "audiences-besides": z.array(printable("an audience")).max(16).default([]).meta({
      description: "Other audiences a token may name besides. One that names any other was not made for us.",
    }),
    kind: z
      .literal("service", { error: ({ input }) => `expected service, or nothing; found ${shown(input)}` })
      .optional()
      .meta({ description: "`service`: every token of this issuer is a service's, as of Kubernetes." }),
    attributes: attributesSchema().optional(),
    hosts: z
      .array(matching("host or host:port", /^[a-z0-9.-]{1,253}(:\d{1,5})?$/))
      .max(16)
      .default([])
      .meta({ description: "Hosts besides the issuer's own where its keys and token endpoint may stand." }),
    "private-network": dangerous().meta({
      description: "The provider stands in one's own network, so that private addresses are right.",
    }),
    "clock-tolerance": durationSeconds({ from: "0s", to: "5m" })
      .prefault("30s")
      .meta({ description: "Accepted difference of clocks for `iat` and `nbf`, 0s–5m." }),
    client: clientSchema(context).optional(),
    ...edgeIssuerShape(context),
  })
    .superRefine((given, issues) => checkEdgeIssuer(given, issues), {
      when: ({ value }) => typeof value === "object" && value !== null,
    })
    .transform((given, issues): Named => {
      if (edgeKindOf(given) !== undefined) {
        return (name) => edgeIssuerOf(name, given, context) ?? z.NEVER;
      }
      const tenant = given["entra-tenant"];
      const url = tenant === undefined ? given.url : `https://login.microsoftonline.com/${tenant}/v2.0`;
      if (url === undefined || (tenant !== undefined && given.url !== undefined)) {
        issues.addIssue("expected exactly one of url and entra-tenant");
        return z.NEVER;
      }
      return (name) => ({
        name,
        url,
        ...(tenant !== undefined && { entraTenant: tenant }),
        audience: given.audience ?? "",
        audiencesBesides: given["audiences-besides"],
        ...(given.kind && { kind: given.kind }),
        ...(given.attributes && { attributes: given.attributes }),
        hosts: given.hosts,
        privateNetwork: given["private-network"],
        clockToleranceSeconds: given["clock-tolerance"],
        ...(given.client && { client: given.client }),
      });
    });
}

/** Not normalised: `iss` is compared exactly (OpenID Connect Discovery §4.3), a trailing slash included. */
function issuerUrl(): z.ZodType<string, string> {
  return text("an issuer identifier like https://login.example.com", (given, wrong) => {
    const url = URL.parse(given);
    if (!url || !PRINTABLE.test(given)) return undefined;
    if (url.username !== "" || url.password !== "" || given.includes("?") || given.includes("#")) {
      return wrong("expected an issuer identifier without user, query and fragment (RFC 8414 §2)");
    }
    const isSafe = url.protocol === "https:" || (url.protocol === "http:" && isLoopback(url.hostname));
    return isSafe ? given : wrong(`expected https, or http on loopback; found ${shown(given)}`);
  });
}

function attributesSchema(): z.ZodType<Readonly<Record<string, readonly string[]>>> {
  const claim = printable("a claim");
  return z
    .record(
      matching("an attribute's name of [a-z0-9_-], beginning with a letter", /^[a-z][a-z0-9_-]{0,63}$/),
      z.union([claim.transform((one): readonly string[] => [one]), z.array(claim).min(1).max(16)], {
        error: ({ input }) => `expected a claim, or a list of 1–16 claims; found ${shown(input)}`,
      }),
    )
    .refine((map) => Object.keys(map).length <= 64, "expected at most 64 attributes")
    .meta({
      description: "Attribute → the claim, or list of claims whose values are united, that feeds it.",
    });
}

function clientSchema(context: SchemaContext): z.ZodType<ClientConfig> {
  return section({
    id: printable("a client id").meta({ description: "Our client id at the provider." }),
    secret: secret(context).optional().meta({ description: "Client secret: `{ file: … }` or `{ env: … }`." }),
    key: secret(context).optional().meta({
      description:
        "Private key (PEM) for private_key_jwt, instead of `secret`: `{ file: … }` or `{ env: … }`.",
    }),
    "key-id": printable("a key id").optional().meta({ description: "The key's id at the provider." }),
    scope: matching("scopes separated by single spaces", /^[\x21-\x7e]+( [\x21-\x7e]+)*$/)
      .optional()
      .meta({
        description: "Scopes to ask for. Default `openid profile`, and `offline_access` where it is offered.",
      }),
  })
    .transform((given, issues): ClientConfig => {
      const { key, secret: clientSecret } = given;
      if ((key === undefined) === (clientSecret === undefined))
        issues.addIssue("expected exactly one of secret and key");
      return {
        id: given.id,
        ...(clientSecret && { secret: clientSecret }),
        ...(key && { key: () => privateKeyOf(key()) }),
        ...(given["key-id"] !== undefined && { keyId: given["key-id"] }),
        ...(given.scope !== undefined && { scope: given.scope }),
      };
    })
    .meta({
      description: "The gateway as the provider knows it. Absent: bearer tokens only, nobody signs in here.",
    });
}

function privateKeyOf(pem: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch {
    // The library's own words may quote what it read.
    throw new GatewayError(
      "CONFIG_INVALID",
      "cannot use the client's key: expected a private key in PEM without passphrase",
    );
  }
}
