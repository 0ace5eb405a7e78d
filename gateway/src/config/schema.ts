import { z } from "zod";
import { auditSchema } from "./audit.ts";
import { checkBehind, limitsOf } from "./behind.ts";
import type { Config, SessionConfig } from "./config.ts";
import { issuersSchema } from "./issuer.ts";
import { limitsSchema } from "./limits.ts";
import { adminSchema, listenSchema } from "./listen.ts";
import { natsSchema } from "./nats.ts";
import { section } from "./section.ts";
import { durationSeconds, isLoopback, matching, path, type SchemaContext, shown, text } from "./values.ts";

const ORIGINS_MAX = 64;

/** The whole file. Its input side is what docs/configuration.md is made from. */
export function configSchema(context: SchemaContext): z.ZodType<Omit<Config, "file">> {
  return (
    section({
      "public-url": publicUrl().meta({
        description:
          "Where callers find the gateway: base path, redirect URI, cookie and `iss` follow from it.",
      }),
      listen: listenSchema(context).meta({ description: "Where the gateway listens." }),
      admin: adminSchema()
        .optional()
        .meta({ description: "The administration listener, apart from the public one." }),
      origins: z
        .array(origin())
        .max(ORIGINS_MAX, `expected at most ${ORIGINS_MAX} origins`)
        .default([])
        .meta({
          description:
            "Origins besides `public-url`'s own that may call from a browser: CORS, WebSocket and CSRF.",
        }),
      "trust-domain": matching("a name like example.com", /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/).meta({
        description:
          "`aud` of every seal. One per NATS account: what verifies in staging must not in production.",
      }),
      issuers: issuersSchema(context).meta({ description: "Identity providers by name, `[a-z0-9]+`." }),
      nats: natsSchema(context).meta({ description: "The NATS cluster." }),
      policy: path(context).meta({ description: "The policy: a file, or a folder of `*.yaml`." }),
      audit: auditSchema(context).meta({
        description:
          "Where records go: `stdout`, `{ file: … }`, `{ stream: … }`. All must take a record before there is an effect.",
      }),
      state: path(context).prefault("state").meta({
        description:
          "Folder for what this instance keeps for itself: its seal keys. Never shared between instances.",
      }),
      instance: matching("a name of [A-Za-z0-9_-], 1–63 characters", /^[A-Za-z0-9_-]{1,63}$/)
        .optional()
        .meta({ description: "This instance's name in seals and records. Default: from the host's name." }),
      session: sessionSchema().prefault({}).meta({ description: "Sessions of signed-in browsers." }),
      limits: limitsSchema().prefault({}).meta({ description: "Bounds of what strangers may cost." }),
      demo: path(context).optional().meta({ description: "A page to serve at `/demo`, for the devstack." }),
      log: logSchema(context).prefault({}).meta({
        description: "The operator's log, on standard error or in a file.",
      }),
    })
      .superRefine(checkAddresses, { when: ({ value }) => typeof value === "object" && value !== null })
      // Only of parts that are right by themselves: any other may be anything.
      .superRefine(checkBehind, { when: ({ issues }) => issues.length === 0 })
      .transform(
        (given): Omit<Config, "file"> => ({
          publicUrl: given["public-url"],
          listen: given.listen,
          ...(given.admin && { admin: given.admin }),
          origins: [...new Set([new URL(given["public-url"]).origin, ...given.origins])],
          trustDomain: given["trust-domain"],
          ...given.issuers,
          nats: given.nats,
          policy: given.policy,
          audit: given.audit,
          state: given.state,
          ...(given.instance !== undefined && { instance: given.instance }),
          session: given.session,
          limits: limitsOf(given),
          ...(given.demo !== undefined && { demo: given.demo }),
          log: given.log,
        }),
      )
  );
}

/** Also looked at when something else is wrong; then either may be anything. */
function checkAddresses(
  given: { readonly listen?: unknown; readonly admin?: unknown },
  issues: z.core.$RefinementCtx,
): void {
  const port = portOf(given.listen);
  if (port !== undefined && port !== 0 && port === portOf(given.admin)) {
    const message = `port ${port} is the one of listen; the administration listener needs its own`;
    issues.addIssue({ code: "custom", path: ["admin", "address"], message });
  }
}

function portOf(listener: unknown): number | undefined {
  const isAddress = typeof listener === "object" && listener !== null && "port" in listener;
  return isAddress && typeof listener.port === "number" ? listener.port : undefined;
}

/** Normalised: lower-case host, no default port, no trailing slash. */
function publicUrl(): z.ZodType<string, string> {
  return text("a URL like https://apps.example.com/bus", (given, wrong) => {
    const url = URL.parse(given);
    if (!url || (url.protocol !== "https:" && url.protocol !== "http:")) return undefined;
    if (url.username !== "" || url.password !== "" || given.includes("?") || given.includes("#")) {
      return wrong("expected a URL without user, query and fragment");
    }
    if (url.protocol === "http:" && !isLoopback(url.hostname)) {
      return wrong(
        `expected https: over http anybody on the way reads cookies and tokens; found ${shown(given)}`,
      );
    }
    const base = url.pathname.replace(/\/$/, "");
    if (base.length > 128 || !/^(\/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*$/.test(base)) {
      return wrong(
        `expected a base path of plain segments ([A-Za-z0-9._~-]), at most 128 characters; found ${shown(url.pathname)}`,
      );
    }
    return url.origin + base;
  });
}

/** An origin as browsers send it (RFC 6454 §6.2): compared as a string, so it must be written just so. */
function origin(): z.ZodType<string, string> {
  return text("an origin like https://apps.example.com", (given, wrong) => {
    const url = URL.parse(given);
    if (!url || (url.protocol !== "https:" && url.protocol !== "http:") || given.includes("*"))
      return undefined;
    if (url.protocol === "http:" && !isLoopback(url.hostname)) {
      return wrong(`expected https, or http on loopback; found ${shown(given)}`);
    }
    return url.origin === given ? given : wrong(`expected ${shown(url.origin)}; found ${shown(given)}`);
  });
}

function sessionSchema(): z.ZodType<SessionConfig> {
  return section({
    idle: durationSeconds({ from: "1m", to: "24h" })
      .prefault("30m")
      .meta({ description: "Ends a session nobody used for so long, 1m–24h." }),
    absolute: durationSeconds({ from: "5m", to: "30d" })
      .prefault("8h")
      .meta({ description: "Ends a session, whatever happens, 5m–30d. A working day by default." }),
  }).transform((given, issues): SessionConfig => {
    if (given.idle > given.absolute) {
      issues.addIssue({
        code: "custom",
        path: ["idle"],
        message: "expected idle to be no longer than absolute",
      });
    }
    return { idleSeconds: given.idle, absoluteSeconds: given.absolute };
  });
}

function logSchema(context: SchemaContext): z.ZodType<Config["log"]> {
  return section({
    file: path(context).optional().meta({
      description:
        "Writes it to this file instead, 10MiB and the 10MiB before: where nobody reads standard error, as under IIS.",
    }),
    level: z
      .enum(["fatal", "error", "warn", "info", "debug", "trace"], {
        error: ({ input }) => `expected fatal, error, warn, info, debug or trace; found ${shown(input)}`,
      })
      .default("info")
      .meta({ description: "`fatal`, `error`, `warn`, `info`, `debug` or `trace`." }),
  }).transform(({ level, file }) => ({ level, ...(file !== undefined && { file }) }));
}
