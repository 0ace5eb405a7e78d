import { z } from "zod";
import { type DirectConfig, directSchema } from "./direct.ts";
import { certificate, privateKey, type ReadText } from "./secret.ts";
import { section } from "./section.ts";
import { dangerous, isLoopback, path, type SchemaContext, shown, text } from "./values.ts";

export interface NatsConfig {
  /** `nats://host:port` or `tls://host:port`, 1–32, without user names or passwords. */
  readonly servers: readonly string[];
  /** Where accounts stand: JWTs of an operator, the server's configuration, or somebody else's. */
  readonly mode: "operator" | "callout" | "hosted";
  readonly tls?: { readonly ca?: ReadText; readonly cert?: ReadText; readonly key?: ReadText };
  /** Absolute path of the folder that `countersign init` wrote. */
  readonly keys: string;
  /** Copies of the gateway's own state, each on a server of its own. */
  readonly replicas: 1 | 3 | 5;
  /** Absent: no client connects by itself. */
  readonly direct?: DirectConfig;
  readonly dangerouslyWithoutTrustedProxy: boolean;
  readonly dangerouslyAllowPlaintext: boolean;
}

const SERVERS_MAX = 32;

export function natsSchema(context: SchemaContext): z.ZodType<NatsConfig> {
  return section(
    {
      servers: z
        .array(serverUrl())
        .min(1, "expected at least one server")
        .max(SERVERS_MAX, `expected at most ${SERVERS_MAX} servers`)
        .meta({
          description: "`tls://host:port`, or `nats://host:port` on loopback; any server of the cluster.",
        }),
      mode: natsModeSchema(),
      ca: certificate(context)
        .optional()
        .meta({ description: "Path of the authority to trust instead of the system's, PEM." }),
      cert: certificate(context)
        .optional()
        .meta({ description: "Path of our own certificate, where servers ask for one." }),
      key: privateKey(context)
        .optional()
        .meta({ description: "Path of its private key; only its owner may read it." }),
      keys: path(context).meta({ description: "Folder with the keys, as `countersign init` wrote it." }),
      replicas: z.literal([1, 3, 5], "expected 1, 3 or 5").default(1).meta({
        description:
          "Copies of sessions, sign-outs, public keys and the AUDIT stream; 3 on a cluster of three servers or more.",
      }),
      direct: directSchema().meta({
        description:
          "Clients that connect to nats-server by themselves, past the gateway; each is judged by the auth callout.",
      }),
      "dangerously-without-trusted-proxy": dangerous().meta({
        description:
          "Needed with `mode: hosted`: a credential stolen from the gateway then works elsewhere until it expires.",
      }),
      "dangerously-allow-plaintext": dangerous().meta({
        description: "Sends messages over the network without TLS, to servers that are not on this machine.",
      }),
    },
    { system: "`countersign init` writes the system user into the folder `keys`" },
  ).transform((given, issues): NatsConfig => {
    const withoutProxy = given["dangerously-without-trusted-proxy"];
    const plaintext = given["dangerously-allow-plaintext"];
    const issue = (key: string, message: string) => issues.addIssue({ code: "custom", path: [key], message });
    for (const [index, server] of given.servers.entries()) {
      if (plaintext || server.startsWith("tls:") || isLoopback(new URL(server).hostname)) continue;
      const message = `${shown(server)} would carry messages in the clear over the network; use tls://`;
      issues.addIssue({ code: "custom", path: ["servers", index], message });
    }
    if (given.mode === "hosted" && !withoutProxy) {
      issue(
        "mode",
        `a hosted cluster trusts no proxy of ours, so that stolen credentials work elsewhere; accept that with ${PROXY}: true, or use another mode`,
      );
    }
    if (given.mode !== "hosted" && withoutProxy) issue(PROXY, "only mode: hosted needs it; remove it");
    if ((given.cert === undefined) !== (given.key === undefined)) {
      issue(given.cert ? "cert" : "key", "expected cert and key together");
    }
    const { ca, cert, key } = given;
    return {
      servers: given.servers,
      mode: given.mode,
      ...((ca || cert) && { tls: { ...(ca && { ca }), ...(cert && key && { cert, key }) } }),
      keys: given.keys,
      replicas: given.replicas,
      ...(given.direct && { direct: given.direct }),
      dangerouslyWithoutTrustedProxy: withoutProxy,
      dangerouslyAllowPlaintext: plaintext,
    };
  });
}

const PROXY = "dangerously-without-trusted-proxy";

export function natsModeSchema(): z.ZodType<NatsConfig["mode"]> {
  return z
    .enum(["operator", "callout", "hosted"], {
      error: ({ input }) => `expected operator, callout or hosted; found ${shown(input)}`,
    })
    .default("operator")
    .meta({
      description:
        "`operator`: accounts by JWT and a trusted proxy. `callout`: accounts in the server's configuration, where the auth callout lets in everybody, and a trusted proxy. `hosted`: the configuration is not yours.",
    });
}

function serverUrl(): z.ZodType<string, string> {
  return text("a server like tls://nats1.example.com:4222", (given, wrong) => {
    const url = URL.parse(given);
    if (
      !url ||
      (url.protocol !== "nats:" && url.protocol !== "tls:") ||
      url.hostname === "" ||
      url.port === ""
    ) {
      return undefined;
    }
    if (url.username !== "" || url.password !== "") {
      return wrong(
        "expected a server without user and password (not shown); the gateway has keys of its own",
      );
    }
    return url.pathname === "" && url.search === "" && url.hash === "" ? given : undefined;
  });
}
