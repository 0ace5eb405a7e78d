import { z } from "zod";
import { EASY_AUTH_ENVIRONMENT } from "../hop/headers.ts";
import { certificate, type ReadText, replaceableSecret } from "./secret.ts";
import { section } from "./section.ts";
import { matching, type SchemaContext, shown } from "./values.ts";

/** Whose word comes by what stands in front, and not in a token. */
export type EdgeIssuerConfig = { readonly name: string } & (
  | {
      readonly kind: "windows";
      /** What the module in IIS signs with; two while it is being replaced. */
      readonly keys: () => readonly Uint8Array[];
      /** Where it is remembered that a signature was used. */
      readonly nonces: "shared" | "here";
    }
  | {
      readonly kind: "certificates";
      /** PEM of the authorities that may have issued them. */
      readonly ca?: ReadText;
      readonly users: readonly CertificateUserConfig[];
      readonly service: boolean;
    }
  | {
      readonly kind: "easy-auth";
      readonly tenant: string;
      /** Whether this is inside App Service, with its authentication on. */
      readonly inside: boolean;
    }
);

/** Whose a certificate is. Names are lists of `CN=…`, in the certificate's order or the opposite one. */
export interface CertificateUserConfig {
  readonly user: string;
  readonly issuer?: readonly string[];
  readonly subject?: readonly string[];
  /** `email:…`, `dns:…`, `uri:…` or `upn:…` */
  readonly san?: string;
}

const USERS_MAX = 1_000;
const NONCES = ["shared", "here"] as const;

export interface EdgeIssuerShape {
  readonly "windows-auth": z.ZodType<true | undefined>;
  readonly key: z.ZodType<(() => readonly Uint8Array[]) | undefined>;
  readonly nonces: z.ZodType<(typeof NONCES)[number] | undefined>;
  readonly "client-certificates": z.ZodType<true | undefined>;
  readonly ca: z.ZodType<ReadText | undefined>;
  readonly users: z.ZodType<readonly CertificateUserConfig[] | undefined>;
  readonly "easy-auth": z.ZodType<"aad" | undefined>;
}

/** The keys of an issuer that stand only in one of this kind, all optional; which are there says which it is. */
export function edgeIssuerShape(context: SchemaContext): EdgeIssuerShape {
  return {
    "windows-auth": yes().meta({
      description:
        "Windows authentication by IIS, signed by our module there. Behind `iis-ancm` or `iis-arr`.",
    }),
    key: replaceableSecret(context, "base64 of 32–64 bytes", keyOf).optional().meta({
      description:
        "With `windows-auth`: the key of the module, base64 of 32 bytes: `{ file: … }` or `{ env: … }`. Two on two lines while it is being replaced.",
    }),
    nonces: z
      .enum(NONCES, { error: ({ input }) => `expected shared or here; found ${shown(input)}` })
      .optional()
      .meta({
        description:
          "With `windows-auth`, where it is remembered that a signature was used: `shared` (default), in NATS; `here`, in this process alone, where only one instance has the key. Then what was signed before it started is refused.",
      }),
    "client-certificates": yes().meta({
      description: "Client certificates that IIS asked for. Behind `iis-ancm` or `iis-arr`.",
    }),
    ca: certificate(context).optional().meta({
      description: "With `client-certificates`: path of the authorities, PEM, that issue them directly.",
    }),
    users: z
      .array(certificateUserSchema())
      .min(1)
      .max(USERS_MAX)
      .optional()
      .meta({ description: "With `client-certificates`: whose each is." }),
    "easy-auth": z
      .literal("aad", { error: ({ input }) => `expected aad; found ${shown(input)}` })
      .optional()
      .meta({
        description:
          "`aad`: what App Service says of users of Entra, with `entra-tenant`. Believed only inside App Service.",
      }),
  };
}

function yes(): z.ZodOptional<z.ZodLiteral<true>> {
  return z.literal(true, { error: ({ input }) => `expected true; found ${shown(input)}` }).optional();
}

function keyOf(text: string): Uint8Array | undefined {
  const bytes = Buffer.from(text, "base64");
  const isWhole = bytes.toString("base64").replace(/=+$/, "") === text.replace(/=+$/, "");
  return isWhole && bytes.length >= 32 && bytes.length <= 64 ? bytes : undefined;
}

function certificateUserSchema(): z.ZodType<CertificateUserConfig> {
  const name = matching("a part of a name like CN=orders", /^[A-Za-z0-9.]{1,64}=[^\p{Cc}]{1,256}$/u);
  const names = z.union([name.transform((one): readonly string[] => [one]), z.array(name).min(1).max(16)], {
    error: ({ input }) => `expected CN=…, or a list of such parts; found ${shown(input)}`,
  });
  return section({
    user: matching("an id of 1–190 printable characters without blanks", /^[\x21-\x7e]{1,190}$/).meta({
      description: "The user's id: `<issuer>-<this>` is the user.",
    }),
    issuer: names.optional().meta({ description: "Who issued it: its whole name, part by part." }),
    subject: names.optional().meta({ description: "Its whole subject, part by part; with `issuer`." }),
    san: matching("email:…, dns:…, uri:… or upn:…", /^(?:email|dns|uri|upn):[\x21-\x7e]{1,256}$/)
      .optional()
      .meta({ description: "An alternative name of it; with `issuer`, or with `ca` above." }),
  }).transform((given, issues): CertificateUserConfig => {
    const { issuer, subject, san } = given;
    if ((subject === undefined) === (san === undefined))
      issues.addIssue("expected exactly one of subject and san");
    if (subject !== undefined && issuer === undefined) {
      issues.addIssue("expected issuer beside subject: any authority may write any subject");
    }
    return {
      user: given.user,
      ...(issuer && { issuer }),
      ...(subject && { subject }),
      ...(san !== undefined && { san }),
    };
  });
}

/** An issuer's keys as they were found. */
export interface EdgeIssuerGiven {
  readonly "windows-auth"?: true | undefined;
  readonly key?: (() => readonly Uint8Array[]) | undefined;
  readonly nonces?: (typeof NONCES)[number] | undefined;
  readonly "client-certificates"?: true | undefined;
  readonly ca?: ReadText | undefined;
  readonly users?: readonly CertificateUserConfig[] | undefined;
  readonly "easy-auth"?: "aad" | undefined;
  readonly "entra-tenant"?: string | undefined;
  readonly kind?: "service" | undefined;
}

/** What may stand beside the key that says which it is. */
const BESIDE: Readonly<Record<string, readonly string[]>> = {
  "windows-auth": ["key", "nonces"],
  "client-certificates": ["ca", "users", "kind"],
  "easy-auth": ["entra-tenant"],
};

/** @returns which key says that this issuer speaks by what stands in front; undefined for a provider of tokens */
export function edgeKindOf(given: object): keyof typeof BESIDE | undefined {
  return Object.keys(BESIDE).find((key) => key in given && given[key as keyof typeof given] !== undefined);
}

/** Says what is missing beside the key that says which it is, and what does not belong there. */
export function checkEdgeIssuer(
  given: Readonly<Record<string, unknown>>,
  issues: z.core.$RefinementCtx,
): void {
  const wrong = (path: readonly PropertyKey[], message: string): void =>
    issues.addIssue({ code: "custom", path: [...path], message });
  const kind = edgeKindOf(given);
  if (kind === undefined) {
    if (given.audience === undefined) wrong(["audience"], "is missing");
    for (const [owner, keys] of Object.entries(BESIDE)) {
      for (const key of keys.filter((each) => EDGE_ONLY.has(each) && given[each] !== undefined)) {
        wrong([key], `belongs to ${owner}`);
      }
    }
    return;
  }
  const may = new Set([kind, ...(BESIDE[kind] ?? [])]);
  for (const [key, value] of Object.entries(given)) {
    const isDefault = value === undefined || value === false || (Array.isArray(value) && value.length === 0);
    if (!may.has(key) && !isDefault && key !== "clock-tolerance") wrong([key], `does not belong to ${kind}`);
  }
  for (const key of NEEDED[kind] ?? []) if (given[key] === undefined) wrong([key], "is missing");
  const users = Array.isArray(given.users) ? (given.users as readonly CertificateUserConfig[]) : [];
  for (const [index, { san, issuer }] of users.entries()) {
    if (san === undefined || issuer !== undefined || given.ca !== undefined) continue;
    wrong(["users", index, "san"], "needs issuer beside it, or ca: any authority may write any name");
  }
}

const EDGE_ONLY: ReadonlySet<string> = new Set(["key", "nonces", "ca", "users"]);
const NEEDED: Readonly<Record<string, readonly string[]>> = {
  "windows-auth": ["key"],
  "client-certificates": ["users"],
  "easy-auth": ["entra-tenant"],
};

/** @returns undefined for a provider of tokens, and for one that `checkEdgeIssuer` found wrong */
export function edgeIssuerOf(
  name: string,
  given: EdgeIssuerGiven,
  { env }: SchemaContext,
): EdgeIssuerConfig | undefined {
  if (given["windows-auth"] && given.key) {
    return { name, kind: "windows", keys: given.key, nonces: given.nonces ?? "shared" };
  }
  if (given["client-certificates"] && given.users) {
    const { ca, users, kind } = given;
    return { name, kind: "certificates", users, service: kind === "service", ...(ca && { ca }) };
  }
  if (given["easy-auth"] && given["entra-tenant"] !== undefined) {
    return { name, kind: "easy-auth", tenant: given["entra-tenant"], inside: isInsideAppService(env) };
  }
  return undefined;
}

/** App Service writes `True`; anything that is no plain yes is no. */
function isInsideAppService(env: SchemaContext["env"]): boolean {
  return /^(?:true|1)$/i.test(env[EASY_AUTH_ENVIRONMENT] ?? "");
}
