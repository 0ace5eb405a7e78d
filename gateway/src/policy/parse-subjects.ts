import { checkSubject } from "@countersign/seal";
import { clip } from "./line.ts";
import type { SubjectRule } from "./policy.ts";
import type { Entry, Source } from "./source.ts";

/** The section `subjects`: patterns with what is true of them, whoever uses them. */
export function readSubjects(source: Source, section: Entry): SubjectRule[] {
  return source.entries(section.value, section.place, "subjects").map((entry) => {
    const why = checkSubject(entry.key, { wildcards: true });
    if (why) source.mistake(entry.keyNode, `subject "${clip(entry.key)}" ${why}`);
    const rule: { seal?: "tree" | "token"; audit?: "durable" } = {};
    for (const setting of source.entries(entry.value, entry.place, `subject "${clip(entry.key)}"`)) {
      if (setting.key === "seal") {
        const seal = source.oneOf(setting, ["tree", "token"] as const);
        if (seal) rule.seal = seal;
      } else if (setting.key === "audit") {
        const audit = source.oneOf(setting, ["durable"] as const);
        if (audit) rule.audit = audit;
      } else {
        source.unknownKey(setting, `subject "${clip(entry.key)}"`, ["seal", "audit"]);
      }
    }
    return { pattern: entry.key, ...rule, rule: { text: entry.key, ...source.place(entry.keyNode) } };
  });
}
