import type { RuleRef } from "../refusal.ts";
import { isoTimeOf } from "../time.ts";
import type { Explanation, Missing } from "./explain.ts";
import { clip } from "./line.ts";
import { type Paint, plain } from "./paint.ts";

/** Says an Explanation in a few lines: what, as whom, by which line, or what was missing from the nearest ones. */
export function renderExplanation(explanation: Explanation, name: string, paint: Paint = plain): string {
  const { outcome, action, user, roles, rule, near } = explanation;
  const verdict = outcome === "allowed" ? paint("green", "allowed") : paint("red", "refused");
  const has = roles.length > 0 ? `with ${roles.join(", ")}` : "with no role";
  const lines = [`${verdict}  ${paint("bold", action)}`, `as       ${name} (${user}), ${has}`];
  if (rule)
    lines.push(`${outcome === "allowed" ? "by " : "never"}      `.slice(0, 9) + ruleText(rule, paint));
  if (outcome === "refused" && !rule && near.length === 0)
    lines.push("because  no role of the policy has such a line");
  for (const { rule: nearRule, missing } of near) {
    lines.push(`near     ${ruleText(nearRule, paint)}`);
    for (const one of missing) lines.push(`         ${paint("yellow", "missing")}: ${missingText(one)}`);
  }
  return `${lines.join("\n")}\n`;
}

function ruleText({ role, text, file, line }: RuleRef, paint: Paint): string {
  return `${text}  ${paint("dim", `${role === undefined ? "" : `role ${role}, `}${file}:${line}`)}`;
}

/** What would have to be otherwise, in one line. */
export function missingText(missing: Missing): string {
  switch (missing.what) {
    case "issuer":
      return `the role is given through issuer ${missing.expected}; this identity comes from ${missing.found}`;
    case "user":
      return `the role is given to user ${clip(missing.expected)}, which this is not`;
    case "client":
    case "service":
      return clientText(missing.what, missing.expected, missing.found);
    case "acr":
      return `the role asks for acr ${clip(missing.expected)}; the sign-in was ${clip(missing.found ?? "without one")}`;
    case "attribute":
      return `the role asks for ${missing.name} ${clip(missing.expected)}; this identity has ${listText(missing.found)}`;
    case "until":
      return `the role was given until ${isoTimeOf(missing.until)}, which is past`;
    case "token":
      return missing.template === undefined
        ? `token ${missing.position} is "${clip(missing.found)}"; the line has "${missing.expected}"`
        : `token ${missing.position} is "${clip(missing.found)}"; {${missing.template}} of this identity is "${missing.expected}"`;
    case "tokens":
      return `the subject has ${missing.found} tokens; the line has ${missing.expected}`;
    case "template":
      return `this identity has no attribute ${missing.template}, so that the line grants it nothing`;
    case "stream":
    case "bucket":
    case "queue":
    case "consumer":
    case "way":
      return `the line has the ${missing.what} ${missing.expected}; asked was ${clip(missing.found)}`;
    case "inbox":
      return "the line lets it publish; for a reply it needs an inbox, which comes with a request line";
    case "acting":
      return "the role is for acting on behalf of a user; this identity acts for itself";
    case "own":
      return "the role is for one who acts for itself; this identity acts for a user";
    case "acts-for":
      return `the role acts for users with ${missing.roles.join(" or ")}, which this user has not`;
    case "user-lacks":
      return "the user's own roles do not allow it, and an actor may do no more than the user";
    case "withheld":
      return withheldText(missing.why, missing.because);
  }
}

function clientText(what: "client" | "service", expected: string, found: string | undefined): string {
  const wanted =
    what === "client" ? `users of the application ${clip(expected)}` : `the service ${clip(expected)}`;
  if (found !== undefined) return `the role is given to ${wanted}; this is ${clip(found)}`;
  return `the role is given to ${wanted}; this identity is none, or its token does not tell (RFC 9068: sub equals client_id; at Entra switch on the optional claim idtyp)`;
}

function withheldText(
  why: Extract<Missing, { what: "withheld" }>["why"],
  because: readonly RuleRef[],
): string {
  const rules = because.map(({ text, file, line }) => `"${text}" (${file}:${line})`).join(" and ");
  switch (why) {
    case "never_overlaps":
      return `the line is withheld whole, because ${rules} forbids a part of it`;
    case "queue_conflict":
      return `the line is withheld, because it overlaps ${rules}, which has no queue, on another pattern`;
    case "direct_too_wide":
      return `the line is withheld, because nats-server could not keep a direct client to ${rules}`;
  }
}

function listText(values: readonly string[]): string {
  if (values.length === 0) return "none";
  const shown = values.slice(0, 5).map(clip).join(", ");
  return values.length > 5 ? `${shown} and ${values.length - 5} more` : shown;
}
