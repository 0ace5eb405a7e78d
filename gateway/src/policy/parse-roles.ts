import type { Node } from "yaml";
import { nearest } from "../near.ts";
import { ATTRIBUTE, clip, printable } from "./line.ts";
import { checkName, readLines } from "./parse-lines.ts";
import type { Given, Role, RoleLimits } from "./policy.ts";
import type { Entry, Source } from "./source.ts";
import { parseDurationSeconds, parseRatePerSecond, parseSizeBytes, parseUntil } from "./units.ts";

const ROLE_KEYS = ["given-to", "acts-for", "may", "never", "limits"] as const;
export const ISSUER: RegExp = /^[a-z0-9]{1,64}$/;

/** The section `roles`. */
export function readRoles(source: Source, section: Entry): Role[] {
  return source.entries(section.value, section.place, "roles").map((entry) => {
    checkName(source, entry, "a role");
    return readRole(source, entry);
  });
}

function readRole(source: Source, entry: Entry): Role {
  const name = entry.key;
  const what = `role "${clip(name)}"`;
  const keys = new Map<string, Entry>();
  for (const key of source.entries(entry.value, entry.place, what)) {
    if ((ROLE_KEYS as readonly string[]).includes(key.key)) keys.set(key.key, key);
    else source.unknownKey(key, what, ROLE_KEYS);
  }
  const given = keys.get("given-to");
  if (!given && entry.value) source.mistake(entry.keyNode, `${what} lacks "given-to": say who gets it`);
  const actsFor = keys.get("acts-for");
  const may = keys.get("may");
  const never = keys.get("never");
  const limits = keys.get("limits");
  return {
    name,
    ...source.place(entry.keyNode),
    givenTo: given ? readGivenTo(source, given, name) : [],
    actsFor: actsFor ? readActsFor(source, actsFor, what) : [],
    may: may ? readLines(source, may.value, may.place, "may", name) : [],
    never: never ? readLines(source, never.value, never.place, "never", name) : [],
    limits: limits ? readLimits(source, limits, what) : {},
  };
}

function readActsFor(source: Source, entry: Entry, what: string): string[] {
  return source
    .items(entry.value, entry.place, `acts-for of ${what}`, true)
    .map((item) => source.string(item, entry.place, `a role in acts-for of ${what}`))
    .filter((name) => name !== undefined);
}

function readGivenTo(source: Source, entry: Entry, role: string): Given[] {
  const what = `given-to of role "${clip(role)}"`;
  return source.items(entry.value, entry.place, what).flatMap((item) => {
    const given = readGiven(source, item, what, role);
    return given ? [given] : [];
  });
}

function readGiven(source: Source, item: Node, what: string, role: string): Given | undefined {
  const given: { -readonly [K in keyof Given]?: Given[K] } = {};
  const attributes: { name: string; values: string[] }[] = [];
  for (const entry of source.entries(item, item, `a line of ${what}`)) {
    switch (entry.key) {
      case "issuer": {
        const issuer = source.string(entry.value, entry.place, "issuer");
        if (issuer !== undefined) given.issuer = issuer;
        if (issuer !== undefined && !ISSUER.test(issuer)) {
          source.mistake(
            entry.value,
            `the issuer is named "${clip(issuer)}"; issuers are named with a–z and 0–9`,
          );
        }
        break;
      }
      case "user":
      case "client":
      case "service":
      case "acr": {
        const value = source.single(entry, what);
        if (value !== undefined) given[entry.key] = value;
        break;
      }
      case "until": {
        const until = readUntil(source, entry);
        if (until !== undefined) given.until = until;
        break;
      }
      default: {
        const attribute = readAttribute(source, entry, what);
        if (attribute) attributes.push(attribute);
      }
    }
  }
  if (given.service !== undefined && (given.user !== undefined || given.client !== undefined)) {
    source.mistake(
      item,
      `a line of ${what} asks for a service and for a user, and nobody is both; write two lines`,
    );
  }
  if (given.issuer === undefined) {
    source.mistake(item, `a line of ${what} lacks its issuer: without it any issuer's users would match`);
    return undefined;
  }
  const rule = {
    role,
    text: printable(source.textOf(item).replace(/\s+/g, " ").trim()),
    ...source.place(item),
  };
  return { ...given, issuer: given.issuer, attributes, rule };
}

const GIVEN_KEYS = ["issuer", "user", "groups", "client", "service", "acr", "until"] as const;

function readAttribute(
  source: Source,
  entry: Entry,
  what: string,
): { name: string; values: string[] } | undefined {
  const { key: name, keyNode } = entry;
  if (!ATTRIBUTE.test(name)) {
    source.mistake(
      keyNode,
      `a line of ${what} asks for the attribute "${clip(name)}"; attributes are a letter, then A–Z a–z 0–9 _ -`,
    );
    return undefined;
  }
  const near = name === "groups" ? undefined : nearest(name, GIVEN_KEYS);
  if (near !== undefined && name.length > 3 && slip(name, near)) {
    source.mistake(keyNode, `"${clip(name)}" is not a key of given-to (did you mean "${near}"?)`);
    return undefined;
  }
  return { name, values: source.strings(entry, `${name} in ${what}`) };
}

/** Words that differ from a key in their ending or in case only can hardly be attributes of their own. */
function slip(name: string, near: string): boolean {
  const word = name.toLowerCase();
  return (
    word === near ||
    word.startsWith(near) ||
    near.startsWith(word) ||
    [...word].sort().join("") === [...near].sort().join("")
  );
}

function readUntil(source: Source, entry: Entry): number | undefined {
  const text = source.string(entry.value, entry.place, "until");
  if (text === undefined) return undefined;
  const until = parseUntil(text);
  if (until === undefined) {
    source.mistake(
      entry.value,
      `until is "${clip(text)}"; write a date, 2026-12-31 (which is still good), or 2026-12-31T18:00:00Z`,
    );
  }
  return until;
}

interface LimitKind {
  readonly field: keyof RoleLimits;
  readonly parse: (text: string) => number | undefined;
  readonly min: number;
  readonly max: number;
  readonly right: string;
}

const LIMIT_KINDS: Readonly<Record<string, LimitKind>> = {
  credential: {
    field: "credentialSeconds",
    parse: parseDurationSeconds,
    min: 30,
    max: 86_400,
    right: "a duration of 30s to 24h, such as 10m",
  },
  payload: {
    field: "payloadBytes",
    parse: parseSizeBytes,
    min: 1,
    max: 8 * 1024 * 1024,
    right: "a size of 1B to 8MiB, such as 64KiB",
  },
  rate: {
    field: "ratePerSecond",
    parse: parseRatePerSecond,
    min: 1,
    max: 1_000_000,
    right: "messages a second, 1/s to 1000000/s, such as 50/s",
  },
  connections: {
    field: "connections",
    parse: (text) => (/^\d{1,6}$/.test(text) ? Number(text) : undefined),
    min: 1,
    max: 1_000,
    right: "a number of 1 to 1000",
  },
};

function readLimits(source: Source, section: Entry, what: string): RoleLimits {
  const limits: { -readonly [K in keyof RoleLimits]: RoleLimits[K] } = {};
  for (const entry of source.entries(section.value, section.place, `limits of ${what}`)) {
    const kind = Object.hasOwn(LIMIT_KINDS, entry.key) ? LIMIT_KINDS[entry.key] : undefined;
    if (!kind) {
      source.unknownKey(entry, `limits of ${what}`, Object.keys(LIMIT_KINDS));
      continue;
    }
    const text = source.written(entry);
    const value = text === undefined ? undefined : kind.parse(text);
    if (value !== undefined && value >= kind.min && value <= kind.max) limits[kind.field] = value;
    else
      source.mistake(
        entry.value ?? entry.place,
        `${entry.key} in limits of ${what} is "${clip(text ?? "")}"; write ${kind.right}`,
      );
  }
  return limits;
}
