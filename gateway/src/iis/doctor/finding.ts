import type { Position } from "../config/xml.ts";
import type { FindingCode } from "./catalogue.ts";
import type { Certainty, Severity } from "./entry.ts";

/** One thing that is wrong, where, why it matters, and what would be right. */
export interface Finding extends Position {
  readonly code: FindingCode;
  readonly severity: Severity;
  readonly file: string;
  readonly found: string;
  readonly why: string;
  readonly fix: string;
  /** What to write in its place, or a command. */
  readonly snippet?: string;
  readonly certainty: Certainty;
}
