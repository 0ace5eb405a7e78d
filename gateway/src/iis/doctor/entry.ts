/**
 * How bad it is. `danger`: somebody may pass for somebody else, or learn a secret. `error`: it does not work.
 * `warning`: it works badly, or not always. `note`: nothing is wrong by what was read; it does not count for the exit code.
 */
export type Severity = "danger" | "error" | "warning" | "note";

/**
 * What a claim rests on. `source`: public source code or a schema. `documented`: the vendor's documentation.
 * `reported`: accounts of others. `inferred`: follows from those. `unconfirmed`: nobody has shown it.
 */
export type Certainty = "source" | "documented" | "reported" | "inferred" | "unconfirmed";

/** What is the same in all findings of one kind. */
export interface Entry {
  readonly severity: Severity;
  /**
   * For what is not known to be the gateway, but some other site or process. `hidden`: right there, so that it is only
   * named in the note that says what would be found were it the gateway. Absent: as bad as for the gateway.
   */
  readonly elsewhere?: Severity | "hidden";
  readonly why: string;
  readonly fix: string;
  readonly snippet?: string;
  readonly certainty: Certainty;
}
