import { z } from "zod";
import { nearest } from "../near.ts";

/** What may not stand in a section yet, and what to do instead. */
export type NotYet = Readonly<Record<string, string>>;

/**
 * A map of known keys. Each unknown one becomes a line of the message, in the order of the issue's `keys`, so
 * that `mistakesOf` can point at each.
 */
export function section<Shape extends z.core.$ZodLooseShape>(
  shape: Shape,
  notYet: NotYet = {},
): z.ZodObject<Shape, z.core.$strict> {
  const known = Object.keys(shape);
  return z.strictObject(shape, {
    error: (issue) =>
      issue.code === "unrecognized_keys"
        ? issue.keys.map((key) => unknownKey(key, known, notYet)).join("\n")
        : undefined,
  });
}

function unknownKey(key: string, known: readonly string[], notYet: NotYet): string {
  if (Object.hasOwn(notYet, key)) return `not supported in this version: ${notYet[key]}`;
  const near = nearest(key, known);
  const right = near === undefined ? `known here: ${known.join(", ")}` : `did you mean "${near}"?`;
  return `unknown key; ${right}`;
}
