import { parseAction } from "./action.ts";
import type { PolicyTest, TestedAction } from "./policy.ts";
import type { Entry, Source } from "./source.ts";

const TEST_KEYS = ["as", "allowed", "refused"] as const;

/** The section `tests`: what must be allowed and refused before a policy goes live. */
export function readTests(source: Source, section: Entry): PolicyTest[] {
  return source.items(section.value, section.place, "tests").flatMap((item) => {
    const test: { as?: string; allowed: TestedAction[]; refused: TestedAction[] } = {
      allowed: [],
      refused: [],
    };
    for (const entry of source.entries(item, item, "a test")) {
      if (entry.key === "as") {
        const as = source.string(entry.value, entry.place, "as");
        if (as !== undefined) test.as = as;
      } else if (entry.key === "allowed" || entry.key === "refused") {
        test[entry.key] = readActions(source, entry);
      } else {
        source.unknownKey(entry, "a test", TEST_KEYS);
      }
    }
    if (test.as === undefined) {
      source.mistake(item, `a test lacks "as", the name of an identity`);
      return [];
    }
    if (test.allowed.length + test.refused.length === 0) {
      source.mistake(item, `a test of "${test.as}" tests nothing; list actions under allowed or refused`);
    }
    return [{ as: test.as, allowed: test.allowed, refused: test.refused, ...source.place(item) }];
  });
}

function readActions(source: Source, entry: Entry): TestedAction[] {
  return source.items(entry.value, entry.place, entry.key).flatMap((item) => {
    const text = source.string(item, entry.place, `an action in ${entry.key}`);
    if (text === undefined) return [];
    const action = parseAction(text);
    if (action.ok) return [{ action: action.value, ...source.position(item) }];
    const { refusal } = action;
    source.lineFault(item, 0, refusal.reason === "request_invalid" ? refusal.why : refusal.reason);
    return [];
  });
}
