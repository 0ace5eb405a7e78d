import type { Entry } from "./entry.ts";

export type ValidityCode =
  | "section-locked"
  | "section-may-be-locked"
  | "item-locked"
  | "attribute-unknown"
  | "element-unknown"
  | "name-case"
  | "attribute-missing"
  | "value-invalid"
  | "entry-duplicate"
  | "comment-dashes"
  | "variable-not-allowed"
  | "module-not-installed"
  | "map-missing";

/** What IIS does not take: 500.19 for every request, or a part that does nothing. */
export const VALIDITY: Readonly<Record<ValidityCode, Entry>> = {
  "section-locked": {
    severity: "error",
    why: "The section is locked above this file, so that IIS answers every request below it with 500.19 (0x80070021).",
    fix: "Set it in applicationHost.config for this site alone, with appcmd … /commit:apphost, and take it out of this file. To unlock the section would open it for every site.",
    certainty: "reported",
  },
  "section-may-be-locked": {
    severity: "warning",
    elsewhere: "note",
    why: "The section is locked on a server as it is installed, and then IIS answers every request with 500.19 (0x80070021). Whether it was unlocked stands in applicationHost.config, which was not given.",
    fix: "Give a copy of applicationHost.config besides, or set the section there with appcmd … /commit:apphost.",
    certainty: "reported",
  },
  "item-locked": {
    severity: "error",
    why: "The entry is locked in applicationHost.config (lockItem), so that IIS answers with 500.19 when a file below takes it away.",
    fix: "Leave the entry, or unlock it on the server.",
    certainty: "documented",
  },
  "attribute-unknown": {
    severity: "error",
    why: "IIS knows no such attribute there and answers every request with 500.19.",
    fix: "Take it out, or write the name as IIS has it.",
    certainty: "source",
  },
  "element-unknown": {
    severity: "error",
    why: "IIS knows no such element there and answers every request with 500.19.",
    fix: "Take it out, or write the name as IIS has it.",
    certainty: "source",
  },
  "name-case": {
    severity: "note",
    why: "IIS compares names of elements and attributes by case, as XML does.",
    fix: "Write it as IIS has it.",
    certainty: "inferred",
  },
  "attribute-missing": {
    severity: "error",
    why: "IIS asks for this attribute and answers every request with 500.19 without it.",
    fix: "Add it.",
    certainty: "source",
  },
  "value-invalid": {
    severity: "error",
    why: "IIS does not take this value and answers every request with 500.19.",
    fix: "Write a value of the form it has.",
    certainty: "source",
  },
  "entry-duplicate": {
    severity: "error",
    why: "An entry with the same key is there already, here or inherited; IIS answers every request with 500.19.",
    fix: "Take one of the two out; where the other is inherited, put <remove> before this one.",
    certainty: "reported",
  },
  "comment-dashes": {
    severity: "error",
    why: "XML has no -- inside a comment, so that IIS cannot read the file: 500.19.",
    fix: "Write the comment without two dashes in a row.",
    certainty: "reported",
  },
  "variable-not-allowed": {
    severity: "error",
    why: "A rule of a site may only set server variables that the server allows; IIS answers every request the rule matches with 500.50 or 500.52.",
    fix: "Allow it on the server.",
    certainty: "documented",
  },
  "module-not-installed": {
    severity: "error",
    why: "The module that does this is not installed on the server: its sections are answered with 500.19, its handler with 500.21, and a proxied path with 404.",
    fix: "Install it, and restart the service W3SVC.",
    certainty: "documented",
  },
  "map-missing": {
    severity: "error",
    why: "The rule reads a rewrite map that is nowhere in force at this place, so that the value is empty.",
    fix: "Add the map, or mend its name.",
    certainty: "documented",
  },
};
