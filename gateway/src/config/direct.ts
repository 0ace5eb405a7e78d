import { isIP } from "node:net";
import { z } from "zod";
import { section } from "./section.ts";
import { shown, text } from "./values.ts";

/** Clients that connect to nats-server by themselves, each judged by the auth callout. */
export interface DirectConfig {
  /** Where they find it, as they are told with a credential. */
  readonly servers: readonly string[];
  /** Kinds of connection that are let in. */
  readonly connections: readonly DirectConnectionType[];
  /** Networks they may come from, `address/bits`; absent: any. */
  readonly sources?: readonly string[];
}

export type DirectConnectionType = "standard" | "websocket" | "mqtt" | "leafnode";

const TYPES: readonly DirectConnectionType[] = ["standard", "websocket", "mqtt", "leafnode"];
/** A leaf node brings other clients with it, under one user's name. */
const DEFAULT_TYPES: readonly DirectConnectionType[] = ["standard", "websocket", "mqtt"];
const LIST_MAX = 64;

export function directSchema(): z.ZodType<DirectConfig | undefined> {
  return section({
    servers: z
      .array(clientUrl())
      .min(1, "expected at least one server")
      .max(LIST_MAX, `expected at most ${LIST_MAX} servers`)
      .meta({
        description:
          "Where clients that connect by themselves find nats-server, as `POST /v1/credentials` tells them: `tls://…`, `wss://…`.",
      }),
    connections: z
      .array(z.enum(TYPES, { error: ({ input }) => `expected ${TYPES.join(", ")}; found ${shown(input)}` }))
      .min(1, "expected at least one kind of connection")
      .default([...DEFAULT_TYPES])
      .meta({
        description: `Kinds of connection that are let in: ${TYPES.map((type) => `\`${type}\``).join(", ")}. A leaf node brings others with it under one name.`,
      }),
    sources: z
      .array(network())
      .min(1, "expected at least one network")
      .max(LIST_MAX, `expected at most ${LIST_MAX} networks`)
      .optional()
      .meta({
        description:
          "Networks they may come from, as nats-server sees their address: `10.0.0.0/8`. Default: any.",
      }),
  })
    .transform(
      ({ servers, connections, sources }): DirectConfig => ({
        servers,
        connections,
        ...(sources && { sources }),
      }),
    )
    .optional();
}

function clientUrl(): z.ZodType<string, string> {
  return text("an address like tls://nats.example.com:4222 or wss://nats.example.com", (given) => {
    const url = URL.parse(given);
    const known = url && ["nats:", "tls:", "ws:", "wss:"].includes(url.protocol) && url.hostname !== "";
    return known && url.username === "" && url.password === "" ? given : undefined;
  });
}

function network(): z.ZodType<string, string> {
  return text("a network like 10.0.0.0/8 or 2001:db8::/32", (given) => {
    const [, address = "", bits = ""] = /^([0-9a-fA-F.:]+)\/(\d{1,3})$/.exec(given) ?? [];
    const family = isIP(address);
    return family !== 0 && Number(bits) <= (family === 4 ? 32 : 128) ? given : undefined;
  });
}
