import { userName } from "@countersign/seal";
import { ATTRIBUTE, clip } from "./line.ts";
import { checkName } from "./parse-lines.ts";
import { ISSUER } from "./parse-roles.ts";
import type { NamedIdentity } from "./policy.ts";
import type { Entry, Source } from "./source.ts";

/** The section `identities`: names for tests and for `--as`. */
export function readIdentities(source: Source, section: Entry): NamedIdentity[] {
  return source.entries(section.value, section.place, "identities").flatMap((entry) => {
    checkName(source, entry, "an identity");
    const identity = readIdentity(source, entry);
    return identity ? [{ name: entry.key, identity, ...source.place(entry.keyNode) }] : [];
  });
}

type Facts = Partial<Record<"issuer" | "user" | "service" | "client" | "acr" | "name" | "actor", string>>;

function readIdentity(source: Source, entry: Entry): NamedIdentity["identity"] | undefined {
  const what = `identity "${clip(entry.key)}"`;
  const facts: Facts = {};
  const attributes = Object.create(null) as Record<string, readonly string[]>;
  for (const fact of source.entries(entry.value, entry.place, what)) {
    switch (fact.key) {
      case "issuer":
      case "user":
      case "service":
      case "client":
      case "acr":
      case "name":
      case "actor": {
        const value = source.single(fact, what);
        if (value !== undefined) facts[fact.key] = value;
        break;
      }
      default:
        if (ATTRIBUTE.test(fact.key)) attributes[fact.key] = source.strings(fact, `${fact.key} of ${what}`);
        else
          source.mistake(
            fact.keyNode,
            `${what} has the attribute "${clip(fact.key)}"; attributes are a letter, then A–Z a–z 0–9 _ -`,
          );
    }
  }
  return identityOf(source, entry, what, facts, attributes);
}

function identityOf(
  source: Source,
  entry: Entry,
  what: string,
  facts: Facts,
  attributes: Readonly<Record<string, readonly string[]>>,
): NamedIdentity["identity"] | undefined {
  const { issuer, user: userId, service, client, acr, name, actor } = facts;
  const id = userId ?? service;
  if (issuer === undefined || !ISSUER.test(issuer)) {
    source.mistake(entry.keyNode, `${what} lacks its issuer, a name of a–z and 0–9`);
    return undefined;
  }
  if (id === undefined || (userId !== undefined && service !== undefined)) {
    source.mistake(
      entry.keyNode,
      `${what} is to be either a user or a service: write "user: ID" or "service: ID"`,
    );
    return undefined;
  }
  const user = userName(issuer, id);
  if (user === undefined) {
    source.mistake(
      entry.keyNode,
      `${what} has the id "${clip(id)}", which is too long to stand in a subject`,
    );
    return undefined;
  }
  const signedInThrough = client ?? service;
  return {
    user,
    issuer,
    id,
    kind: service === undefined ? "user" : "service",
    attributes,
    ...(name !== undefined && { name }),
    ...(signedInThrough !== undefined && { client: signedInThrough }),
    ...(acr !== undefined && { acr }),
    ...(actor !== undefined && { actor: { user: actor } }),
  };
}
