import { z } from "zod";
import type { Config } from "./config.ts";
import { type NatsConfig, natsModeSchema } from "./nats.ts";
import { certificate, privateKey, type ReadText } from "./secret.ts";
import { path, type SchemaContext } from "./values.ts";

/** What a configuration names on this machine: it can be looked at without asking anybody. */
export interface LocalConfig {
  readonly policy?: string;
  readonly issuerNames: readonly string[];
  /** The folder of keys. */
  readonly keys?: string;
  readonly mode?: NatsConfig["mode"];
  /** Of the public listener. */
  readonly certificate?: { readonly cert: ReadText; readonly key: ReadText };
  readonly auditFiles: readonly string[];
  readonly state?: string;
}

export function localOf({ policy, issuers, edgeIssuers, nats, listen, audit, state }: Config): LocalConfig {
  return {
    policy,
    issuerNames: [...issuers, ...edgeIssuers].map(({ name }) => name),
    keys: nats.keys,
    mode: nats.mode,
    ...(listen.tls && { certificate: listen.tls }),
    auditFiles: audit.flatMap((target) => (target.to === "file" ? [target.path] : [])),
    state,
  };
}

/**
 * The same of a configuration that is wrong somewhere, as far as each can be read by itself, so that the mistakes
 * behind it are told together with its own.
 */
export function localIn(value: unknown, context: SchemaContext): LocalConfig {
  const { policy, issuers, nats, listen, audit, state } = looseSchema(context).parse(value);
  return {
    ...(policy !== undefined && { policy }),
    issuerNames: Object.keys(issuers ?? {}),
    ...(nats?.keys !== undefined && { keys: nats.keys }),
    ...(nats?.mode && { mode: nats.mode }),
    ...(listen?.tls && { certificate: listen.tls }),
    auditFiles: (audit ?? []).flatMap((target) => (target?.file === undefined ? [] : [target.file])),
    ...(state !== undefined && { state }),
  };
}

function looseSchema(context: SchemaContext) {
  const place = path(context).optional().catch(undefined);
  const tls = z.looseObject({ cert: certificate(context), key: privateKey(context) });
  return z
    .looseObject({
      policy: place,
      state: place,
      issuers: loose(z.record(z.string(), z.unknown())),
      nats: loose(z.looseObject({ keys: place, mode: loose(natsModeSchema()) })),
      listen: loose(z.looseObject({ tls: loose(tls) })),
      audit: loose(z.array(loose(z.looseObject({ file: place })))),
    })
    .catch({ policy: undefined, state: undefined });
}

/** What is wrong in it is told elsewhere. */
function loose<T extends z.ZodType>(schema: T): z.ZodCatch<z.ZodOptional<T>> {
  return schema.optional().catch(undefined as never);
}
