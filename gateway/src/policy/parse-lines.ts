import type { Node } from "yaml";
import { clip, NAME, type PolicyLine } from "./line.ts";
import type { Entry, Source } from "./source.ts";

/** Lines of `may` or `never`. */
export function readLines(
  source: Source,
  value: Entry["value"],
  place: Node,
  section: "may" | "never",
  role?: string,
): PolicyLine[] {
  const what = role === undefined ? section : `${section} of role "${role}"`;
  const lines: PolicyLine[] = [];
  for (const item of source.items(value, place, what)) {
    const line = source.actionLine(item, place, `a line of ${what}`, role);
    if (!line) continue;
    if (section === "never" && (line.queue !== undefined || line.consumers)) {
      const extra = line.queue !== undefined ? "queue" : "consumers";
      source.mistake(
        item,
        `"${line.rule.text}" forbids one of several ${extra}; never forbids the subject whole: leave "${extra} …" out`,
      );
      continue;
    }
    lines.push(line);
  }
  return lines;
}

/** A name as a key: of a role or an identity. */
export function checkName(source: Source, entry: Entry, what: string): void {
  if (NAME.test(entry.key)) return;
  source.mistake(entry.keyNode, `${what} is named "${clip(entry.key)}"; names are 1–64 of A–Z a–z 0–9 _ -`);
}
