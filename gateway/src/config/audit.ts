import { z } from "zod";
import { section } from "./section.ts";
import { count, path, type SchemaContext, shown, sizeBytes } from "./values.ts";

/** Where records go; every one must take a record before there is an effect. */
export type AuditConfig =
  | { readonly to: "stdout" }
  | { readonly to: "file"; readonly path: string; readonly rotateBytes: number; readonly keep: number }
  /** The stream AUDIT in the gateway's own account. */
  | { readonly to: "stream" };

const TARGETS_MAX = 8;
const EXPECTED = "expected stdout, { file: PATH } or { stream: AUDIT }";

export function auditSchema(context: SchemaContext): z.ZodType<readonly AuditConfig[]> {
  return z
    .array(
      z.union([stdoutSchema(), targetSchema(context)], {
        error: ({ input }) => `${EXPECTED}; found ${shown(input)}`,
      }),
    )
    .min(1, `${EXPECTED}; without a record there is no effect`)
    .max(TARGETS_MAX, `expected at most ${TARGETS_MAX} targets`)
    .transform((targets, issues): readonly AuditConfig[] => {
      const seen = new Set<string>();
      for (const [index, target] of targets.entries()) {
        const name = JSON.stringify([target.to, "path" in target ? target.path : ""]);
        if (seen.has(name))
          issues.addIssue({ code: "custom", path: [index], message: "the same target twice" });
        seen.add(name);
      }
      return targets;
    });
}

function stdoutSchema(): z.ZodType<AuditConfig, string> {
  return z.literal("stdout").transform((): AuditConfig => ({ to: "stdout" }));
}

function targetSchema(context: SchemaContext): z.ZodType<AuditConfig> {
  return section({
    file: path(context).optional().meta({ description: "A file of JSON lines, created with mode 0600." }),
    rotate: sizeBytes({ from: "1MiB", to: "100GiB" })
      .optional()
      .meta({ description: "Begins a new file before one exceeds this. Default 100MiB." }),
    keep: count({ from: 1, to: 10_000 })
      .optional()
      .meta({ description: "Rotated files kept; older ones are deleted. Default 100." }),
    stream: z
      .literal("AUDIT", { error: ({ input }) => `expected AUDIT; found ${shown(input)}` })
      .optional()
      .meta({ description: "`AUDIT`: the JetStream stream of this name in the gateway's own account." }),
  }).transform((given, issues): AuditConfig => {
    const { file, stream, rotate, keep } = given;
    if (file !== undefined && stream === undefined) {
      return { to: "file", path: file, rotateBytes: rotate ?? ROTATE_BYTES, keep: keep ?? KEEP };
    }
    if (stream !== undefined && file === undefined && rotate === undefined && keep === undefined) {
      return { to: "stream" };
    }
    issues.addIssue(
      stream === undefined ? EXPECTED : "expected stream alone: file, rotate and keep are for a file",
    );
    return z.NEVER;
  });
}

/** 10 GB in all: a year of a busy week's decisions, at 1 kB each, before anything is deleted. */
const ROTATE_BYTES = 100 * 1_048_576;
const KEEP = 100;
