import { z } from "zod";
import { certificate, privateKey, type ReadText } from "./secret.ts";
import { section } from "./section.ts";
import { type Address, address, dangerous, isLoopback, path, type SchemaContext, shown } from "./values.ts";

/** Where the gateway listens: a TCP address, or the path of a Unix socket or a named pipe. */
export type ListenConfig = (
  | (Address & { readonly path?: undefined })
  | { readonly path: string; readonly host?: undefined }
) & {
  readonly tls?: { readonly cert: ReadText; readonly key: ReadText };
};

const BEYOND =
  "listens beyond this machine without tls, so that cookies and tokens would cross the network in the clear; add tls: { cert: PATH, key: PATH }, or listen on 127.0.0.1 behind what ends TLS";

export function listenSchema(context: SchemaContext): z.ZodType<ListenConfig> {
  return section(
    {
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
      "dangerously-without-tls": dangerous().meta({
        description: "Listens beyond this machine without TLS, for a network that encrypts by itself.",
      }),
    },
    {
      behind: "no identity is taken from what stands in front; users sign in over OIDC",
      proof: "it belongs to `behind`",
      "client-ca": "client certificates prove nobody yet",
    },
  ).transform((given, issues): ListenConfig => {
    const tls = given.tls && { tls: given.tls };
    if (given.address && given.path === undefined) {
      const { host } = given.address;
      if (!isLoopback(host) && !tls && !given["dangerously-without-tls"]) {
        issues.addIssue({ code: "custom", path: ["address"], message: `${shown(host)} ${BEYOND}` });
      }
      return { ...given.address, ...tls };
    }
    if (given.path !== undefined && !given.address) return { path: given.path, ...tls };
    issues.addIssue("expected exactly one of address and path");
    return z.NEVER;
  });
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
