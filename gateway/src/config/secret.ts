import { closeSync, fstatSync, openSync, readFileSync } from "node:fs";
import { z } from "zod";
import { GatewayError } from "../errors.ts";
import { isOpenToOthers } from "../keys/secret-file.ts";
import { path, type SchemaContext, shown } from "./values.ts";

/**
 * Reads a secret or a certificate, anew each time, so that a rotated one is taken up without a restart.
 *
 * @returns without white space around it, 1–65,536 bytes
 * @throws GatewayError CONFIG_INVALID: missing, empty, too large, or readable by others; never with its content
 */
export type ReadText = () => string;

/** A private key of RSA-4096 with its whole chain is 12 kB. */
const BYTES_MAX = 65_536;

/** `{ file: PATH }` or `{ env: NAME }`; a literal would stand in version control before anyone noticed. */
export function secret(context: SchemaContext): z.ZodType<ReadText> {
  return z
    .strictObject(
      {
        file: path(context).optional().meta({ description: "File that only its owner may read." }),
        env: z
          .string()
          .regex(/^[A-Za-z_][A-Za-z0-9_]{0,127}$/, "expected the name of an environment variable")
          .optional()
          .meta({ description: "Name of an environment variable." }),
      },
      { error: ({ code, input }) => (code === "invalid_type" && input !== undefined ? LITERAL : undefined) },
    )
    .transform((given, issues): ReadText => {
      const read = readOf(given, context);
      if (!read) {
        issues.addIssue("expected exactly one of { file: PATH } and { env: NAME }");
        return z.NEVER;
      }
      return probed(read, context, (why) => issues.addIssue(why)) ?? z.NEVER;
    });
}

/**
 * A secret of which there may be two while it is being replaced: one on each line.
 *
 * @param parse  one value; undefined when it cannot be one
 * @returns read anew each time; throws GatewayError CONFIG_INVALID, never with what was found
 */
export function replaceableSecret<T>(
  context: SchemaContext,
  expected: string,
  parse: (text: string) => T | undefined,
): z.ZodType<() => readonly T[]> {
  return secret(context).transform((read, issues) => {
    const readAll = (): readonly T[] => {
      const lines = read().split(/\s+/);
      const values = lines.map(parse).filter((value) => value !== undefined);
      if (values.length !== lines.length || lines.length > 2) {
        throw new GatewayError(
          "CONFIG_INVALID",
          `expected ${expected}, or two of them on two lines; found something else (not shown)`,
        );
      }
      return values;
    };
    return probed(readAll, context, (why) => issues.addIssue(why)) ?? z.NEVER;
  });
}

const LITERAL =
  "expected { file: PATH } or { env: NAME }; found a literal (not shown). A secret never stands in this file: move it into a file of its own and replace it, since it has been written down";

/** The path of a certificate. Anybody may read it. */
export function certificate(context: SchemaContext): z.ZodType<ReadText, string> {
  return path(context).transform((file, issues): ReadText => {
    const read = () => readBounded(file, { owner: false });
    return probed(read, context, (why) => issues.addIssue(why)) ?? z.NEVER;
  });
}

/** The path of a private key: as a secret's `file`. */
export function privateKey(context: SchemaContext): z.ZodType<ReadText, string> {
  return path(context).transform((file, issues): ReadText => {
    const read = () => readBounded(file, { owner: true });
    return probed(read, context, (why) => issues.addIssue(why)) ?? z.NEVER;
  });
}

function readOf(
  given: { readonly file?: string | undefined; readonly env?: string | undefined },
  { env }: SchemaContext,
): ReadText | undefined {
  const { file, env: name } = given;
  if (file !== undefined && name === undefined) return () => readBounded(file, { owner: true });
  if (name !== undefined && file === undefined) {
    return () => checked(env[name], `the environment variable ${shown(name)}`);
  }
  return undefined;
}

/** @returns undefined after it said why it cannot be read */
function probed<T>(
  read: () => T,
  { probe }: SchemaContext,
  report: (why: string) => void,
): (() => T) | undefined {
  if (!probe) return read;
  try {
    read();
    return read;
  } catch (error) {
    report(error instanceof GatewayError ? error.message : "cannot be read");
    return undefined;
  }
}

function readBounded(file: string, { owner }: { readonly owner: boolean }): string {
  let descriptor: number;
  try {
    descriptor = openSync(file, "r");
  } catch (error) {
    throw unreadable(
      shown(file),
      error instanceof Error && "code" in error ? String(error.code) : "unknown error",
    );
  }
  try {
    const facts = fstatSync(descriptor);
    const { mode, size } = facts;
    // A pipe or a device would block or never end.
    if (!facts.isFile()) throw unreadable(shown(file), "it is not a file");
    // On Windows the mode says nothing; there the folder's access control list is what protects it.
    if (owner && process.platform !== "win32" && isOpenToOthers(facts, process.geteuid?.() ?? 0)) {
      const octal = (mode & 0o777).toString(8).padStart(4, "0");
      throw unreadable(
        shown(file),
        `others may read it (mode ${octal}); chmod 0600, in Kubernetes defaultMode 0400`,
      );
    }
    if (size > BYTES_MAX) throw unreadable(shown(file), `more than ${BYTES_MAX} bytes`);
    return checked(readFileSync(descriptor, "utf8"), shown(file));
  } finally {
    closeSync(descriptor);
  }
}

function checked(found: string | undefined, where: string): string {
  if (found === undefined) throw unreadable(where, "it is not set");
  const trimmed = found.trim();
  if (trimmed === "") throw unreadable(where, "it is empty");
  if (trimmed.length > BYTES_MAX) throw unreadable(where, `more than ${BYTES_MAX} bytes`);
  return trimmed;
}

function unreadable(where: string, why: string): GatewayError {
  return new GatewayError("CONFIG_INVALID", `cannot read ${where}: ${why}`);
}
