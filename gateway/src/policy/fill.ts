import { escapeToken } from "@countersign/seal";
import type { Identity } from "../identity/identity.ts";
import { attributeOf } from "./given.ts";

const TEMPLATE = /^\{(.+)\}$/;

/** The attribute a token stands for, or undefined for a literal or wildcard. */
export function templateOf(token: string): string | undefined {
  return TEMPLATE.exec(token)?.[1];
}

/**
 * Fills the templates of a pattern with an identity's values, each escaped into exactly one token. A list yields
 * one pattern per value, the same value wherever the same template stands again.
 *
 * @param limit  most patterns to make
 * @returns the patterns; none when an attribute is missing, or has no value that can be a token. Undefined when
 *          there would be more than `limit`
 */
export function fillPattern(
  pattern: string,
  identity: Identity,
  limit: number,
): readonly string[] | undefined {
  if (!pattern.includes("{")) return [pattern];
  const tokens = pattern.split(".");
  const names = [...new Set(tokens.map(templateOf).filter((name) => name !== undefined))];
  let filled: readonly (readonly string[])[] = [tokens];
  for (const name of names) {
    const next: string[][] = [];
    for (const value of valuesOf(identity, name)) {
      for (const partial of filled) {
        const made = fillOne(partial, name, value);
        if (made) next.push(made);
        if (next.length > limit) return undefined;
      }
    }
    filled = next;
  }
  return filled.map((made) => made.join("."));
}

function valuesOf(identity: Identity, name: string): readonly string[] {
  return name === "user" ? [identity.user] : attributeOf(identity, name);
}

function fillOne(tokens: readonly string[], name: string, value: string): string[] | undefined {
  const made: string[] = [];
  for (const [position, token] of tokens.entries()) {
    if (templateOf(token) !== name) {
      made.push(token);
      continue;
    }
    const filled = name === "user" ? userToken(value) : escapeToken(value, { first: position === 0 });
    if (filled === undefined) return undefined;
    made.push(filled);
  }
  return made;
}

/** A user's name is a token already; one that is not would be a fault of the issuer's code, and grants nothing. */
function userToken(user: string): string | undefined {
  return /^[a-z0-9]+-[A-Za-z0-9_=-]+$/.test(user) ? user : undefined;
}

/**
 * Fills the templates of a `never` line: what cannot be filled becomes `*`, because a line that forbids must not
 * vanish with an attribute.
 *
 * @returns undefined when that is the first token (the line would reach everything, and the whole Grant ends
 *          there) or when there would be more than `limit`
 */
export function fillForbidden(
  pattern: string,
  identity: Identity,
  limit: number,
): readonly string[] | undefined {
  const tokens = pattern.split(".").map((token, position) => {
    const name = templateOf(token);
    if (name === undefined) return token;
    const values = valuesOf(identity, name);
    const fills = values.length > 0 && values.every((value) => fillOne([token], name, value) !== undefined);
    if (fills) return token;
    return position === 0 ? undefined : "*";
  });
  if (tokens.includes(undefined)) return undefined;
  return fillPattern(tokens.join("."), identity, limit);
}
