import type { Layer } from "../config/view.ts";
import { type Attribute, positionOf } from "../config/xml.ts";
import { CATALOGUE, type FindingCode } from "./catalogue.ts";
import type { Severity } from "./entry.ts";
import type { Finding } from "./finding.ts";

/** Where a finding is: an element, or the value of an attribute, and the layer it stands in. */
export interface Place {
  readonly layer: Pick<Layer, "config">;
  readonly node: Pick<Attribute, "lineNumber" | "columnNumber">;
}

export interface Reported {
  /** What stands there, in words: the sentence begins with it. */
  readonly found: string;
  readonly fix?: string;
  readonly snippet?: string;
  readonly severity?: Severity;
  /** Whether it concerns what is known, or taken, to be the gateway. Default: it concerns any site. */
  readonly gateway?: boolean;
}

export type Report = (code: FindingCode, place: Place, reported: Reported) => void;

/** Collects findings, each once for its place, and the codes of those that only matter to the gateway. */
export interface Findings {
  readonly report: Report;
  readonly all: () => readonly Finding[];
  /** What would have been found were it the gateway. */
  readonly hidden: () => ReadonlySet<FindingCode>;
  /** Whether there were more than are kept. */
  readonly truncated: () => boolean;
}

/** Names of elements are part of it, and may be as long as the file. */
const FOUND_CHARACTERS_MAX = 1_000;
/** More than anybody reads; a hostile file could have a million. */
const FINDINGS_MAX = 500;

export function collectFindings(): Findings {
  const found = new Map<string, Finding>();
  const hidden = new Set<FindingCode>();
  let truncated = false;

  function report(code: FindingCode, { layer, node }: Place, reported: Reported): void {
    const { severity: usual, elsewhere, why, fix, snippet, certainty } = CATALOGUE[code];
    const { gateway = true } = reported;
    const severity = reported.severity ?? (gateway ? usual : (elsewhere ?? usual));
    if (severity === "hidden") return void hidden.add(code);
    const { file } = layer.config;
    const { line, column } = positionOf(node);
    const key = `${code}\n${file}\n${line}\n${column}`;
    if (found.has(key)) return;
    if (found.size >= FINDINGS_MAX) {
      truncated = true;
      return;
    }
    const shown = reported.snippet ?? snippet;
    found.set(key, {
      code,
      severity,
      file,
      line,
      column,
      found: reported.found.slice(0, FOUND_CHARACTERS_MAX),
      why,
      fix: reported.fix ?? fix,
      ...(shown !== undefined && { snippet: shown }),
      certainty,
    });
  }

  return {
    report,
    all: () => [...found.values()].sort(byPlace),
    hidden: () => hidden,
    truncated: () => truncated,
  };
}

function byPlace(a: Finding, b: Finding): number {
  if (a.file !== b.file) return a.file < b.file ? -1 : 1;
  return a.line - b.line || a.column - b.column || (a.code < b.code ? -1 : 1);
}

/** A value from a file, fit to be shown: short, and without control characters. */
export function quoted(value: string): string {
  const plain = value.replace(/\p{Cc}/gu, " ");
  return `"${plain.length > SHOWN_MAX ? `${plain.slice(0, SHOWN_MAX)}…` : plain}"`;
}

const SHOWN_MAX = 120;
