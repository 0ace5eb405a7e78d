import { z } from "zod";
import { type AncmProcess, ancmProcessOf } from "./ancm.ts";
import { certificate, privateKey, type ReadText, replaceableSecret } from "./secret.ts";
import { section } from "./section.ts";
import { type Address, address, dangerous, isLoopback, path, type SchemaContext, shown } from "./values.ts";

/** Where the gateway listens: a TCP address, or the path of a Unix socket or a named pipe. */
export type ListenConfig = (
  | (Address & { readonly path?: undefined })
  | { readonly path: string; readonly host?: undefined }
) & {
  readonly tls?: { readonly cert: ReadText; readonly key: ReadText };
  /** Whoever connects must show a certificate of this authority. */
  readonly clientCa?: ReadText;
  /** Absent: nothing stands in front that is believed. */
  readonly behind?: BehindConfig;
};

/** What stands in front of the listener, and by what it proves itself. */
export type BehindConfig =
  /** `process` is absent when IIS did not start this one: then it can be checked, and cannot serve. */
  | { readonly kind: "iis-ancm"; readonly process?: AncmProcess }
  | { readonly kind: "iis-arr"; readonly proof?: () => readonly string[] }
  | { readonly kind: "proxy"; readonly overwritesRequestId: boolean };

const BEYOND =
  "listens beyond this machine without tls, so that cookies and tokens would cross the network in the clear; add tls: { cert: PATH, key: PATH }, or listen on 127.0.0.1 behind what ends TLS";

const KINDS = ["iis-ancm", "iis-arr", "proxy"] as const;

export function listenSchema(context: SchemaContext): z.ZodType<ListenConfig> {
  const schema = section({
    address: address()
      .optional()
      .meta({ description: "`host:port`, IPv6 in brackets; port 0 takes a free one." }),
    path: path(context).optional().meta({
      description: "Path of a Unix socket, or of a named pipe (`\\\\.\\pipe\\name`), instead of `address`.",
    }),
    tls: section({
      cert: certificate(context).meta({ description: "Path of the certificate with its chain, PEM." }),
      key: privateKey(context).meta({
        description: "Path of its private key, PEM; only its owner may read it.",
      }),
    })
      .optional()
      .meta({ description: "Ends TLS here. A renewed certificate is taken up without a restart." }),
    behind: z
      .enum(KINDS, {
        error: ({ input }) => `expected ${KINDS.join(", ")}, or nothing; found ${shown(input)}`,
      })
      .optional()
      .meta({
        description:
          "What stands in front and is believed: ASP.NET Core Module V2 (which gives the port, and is noticed by itself), ARR with URL Rewrite, or another proxy.",
      }),
    proof: replaceableSecret(context, "32–256 printable characters without blanks", (given) =>
      /^[\x21-\x7e]{32,256}$/.test(given) ? given : undefined,
    )
      .optional()
      .meta({
        description:
          "The value of the header `Countersign-Proof` that ARR's rewrite rule sets: `{ file: … }` or `{ env: … }`. Two on two lines while it is being replaced.",
      }),
    "client-ca": certificate(context).optional().meta({
      description:
        "Path of the authority, PEM, of the certificate that what stands in front shows. Of its own: whoever has a certificate of it is believed.",
    }),
    "overwrites-request-id": z.boolean().default(false).meta({
      description:
        "The proxy sets `X-Request-Id` itself, whatever a visitor sends, so that its id is the request's. Never IIS.",
    }),
    "dangerously-without-tls": dangerous().meta({
      description: "Listens beyond this machine without TLS, for a network that encrypts by itself.",
    }),
  }).transform((given, issues): ListenConfig => {
    const wrong = (key: keyof typeof given, message: string): void =>
      issues.addIssue({ code: "custom", path: [key], message });
    checkProofs(given, wrong);
    const started = ancmProcessOf(context);
    if (typeof started === "string") issues.addIssue(started);
    if (given.behind === "iis-ancm" || started !== undefined) {
      return behindAncm(given, typeof started === "string" ? undefined : started, wrong);
    }
    const behind = behindOf(given);
    const more = {
      ...(given.tls && { tls: given.tls }),
      ...(given["client-ca"] && { clientCa: given["client-ca"] }),
      ...(behind && { behind }),
    };
    if (given.address && given.path === undefined) {
      const { host } = given.address;
      if (!isLoopback(host) && !given.tls && !given["dangerously-without-tls"]) {
        wrong("address", `${shown(host)} ${BEYOND}`);
      }
      return { ...given.address, ...more };
    }
    if (given.path !== undefined && !given.address) return { path: given.path, ...more };
    issues.addIssue("expected exactly one of address and path");
    return z.NEVER;
  });
  // Whoever started this process has said where to listen.
  return ancmProcessOf(context) === undefined
    ? schema
    : schema.prefault({ "dangerously-without-tls": false });
}

interface Given {
  readonly address?: Address | undefined;
  readonly path?: string | undefined;
  readonly tls?: unknown;
  readonly behind?: (typeof KINDS)[number] | undefined;
  readonly proof?: (() => readonly string[]) | undefined;
  readonly "client-ca"?: ReadText | undefined;
  readonly "overwrites-request-id": boolean;
}

type Wrong = (key: keyof Given, message: string) => void;

/** A proof that nobody asks for would be one that an operator believes in. */
function checkProofs(given: Given, wrong: Wrong): void {
  const { behind, tls } = given;
  if (given.proof && behind !== "iis-arr") wrong("proof", "belongs to behind: iis-arr, whose rule sets it");
  if (given["overwrites-request-id"] && behind !== "proxy") {
    wrong("overwrites-request-id", "belongs to behind: proxy; IIS passes on what a visitor sends");
  }
  if (!given["client-ca"]) return;
  if (behind !== "iis-arr" && behind !== "proxy") {
    wrong("client-ca", "belongs to behind: iis-arr or proxy; the certificates of users prove nobody here");
  }
  if (!tls) wrong("client-ca", "needs tls: without it nobody shows a certificate");
}

/** IIS gives the port, and the module speaks plain HTTP on 127.0.0.1. */
function behindAncm(given: Given, started: AncmProcess | undefined, wrong: Wrong): ListenConfig {
  const by = started ? "IIS started this process (ASPNETCORE_PORT is set)" : "behind: iis-ancm";
  if (given.behind !== undefined && given.behind !== "iis-ancm") {
    wrong("behind", `${by}, so that it is iis-ancm, or nothing; found ${given.behind}`);
  }
  for (const key of ["address", "path", "tls"] as const) {
    if (given[key] !== undefined) {
      wrong(key, `${by}, and then IIS says where to listen, in plain HTTP on 127.0.0.1; remove it`);
    }
  }
  return {
    host: "127.0.0.1",
    port: started?.port ?? 0,
    behind: { kind: "iis-ancm", ...(started && { process: started }) },
  };
}

function behindOf(given: Given): BehindConfig | undefined {
  switch (given.behind) {
    case "iis-arr":
      return { kind: "iis-arr", ...(given.proof && { proof: given.proof }) };
    case "proxy":
      return { kind: "proxy", overwritesRequestId: given["overwrites-request-id"] };
    default:
      return undefined;
  }
}

export function adminSchema(): z.ZodType<Address> {
  return section({
    address: address().meta({ description: "`host:port` for health in full, metrics and administration." }),
    "dangerously-beyond-loopback": dangerous().meta({
      description:
        "Serves it on other addresses than loopback, to whoever reaches them: it asks for no proof.",
    }),
  }).transform((given, issues): Address => {
    if (!isLoopback(given.address.host) && !given["dangerously-beyond-loopback"]) {
      const message = `${shown(given.address.host)} reaches beyond this machine, and the administration listener asks for no proof; use 127.0.0.1`;
      issues.addIssue({ code: "custom", path: ["address"], message });
    }
    return given.address;
  });
}
