import type { Severity } from "./entry.ts";
import type { Examined } from "./examine.ts";
import type { Finding } from "./finding.ts";

/** Colours a mark, or leaves it. */
export type PaintSeverity = (severity: Severity | "right", text: string) => string;

const MARK_WIDTH = 8;

/** One finding, as people read it: place, what is there, why it matters, what would be right. */
export function findingText(finding: Finding, paint: PaintSeverity): string {
  const { severity, file, line, column, code, found, why, fix, snippet, certainty } = finding;
  const mark = paint(severity, severity.toUpperCase().padEnd(MARK_WIDTH));
  return [
    `${mark} ${file}:${line}:${column}  ${code}`,
    ...indented(`${found} ${why}`),
    ...indented(`→ ${fix}`),
    ...(snippet === undefined ? [] : [`${INDENT}  ${snippet}`]),
    ...indented(`(${certainty})`),
    "",
  ].join("\n");
}

const INDENT = " ".repeat(MARK_WIDTH + 1);
const WIDTH = 110;

/** Wrapped between words. */
function indented(text: string): readonly string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && INDENT.length + line.length + 1 + word.length > WIDTH) {
      lines.push(INDENT + line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, INDENT + line];
}

/** The last line: how much of what was found. */
export function summaryText(examined: Examined, files: number): string {
  const { findings, knowsHost, hasHosts, truncated } = examined;
  const count = (severity: Severity, one: string, many: string): string | undefined => {
    const number = findings.filter((finding) => finding.severity === severity).length;
    return number === 0 ? undefined : `${number} ${number === 1 ? one : many}`;
  };
  const counts = [
    count("danger", "danger", "dangers"),
    count("error", "error", "errors"),
    count("warning", "warning", "warnings"),
    count("note", "note", "notes"),
  ].filter((each) => each !== undefined);
  const looked = `${files} ${files === 1 ? "file" : "files"}`;
  return [
    counts.length === 0 ? `nothing wrong in ${looked}` : `${counts.join(", ")} in ${looked}`,
    ...(truncated ? ["There are more, which are not shown."] : []),
    ...(hasHosts && !knowsHost ? [WITHOUT_HOST] : []),
  ].join("\n");
}

const WITHOUT_HOST =
  "Not looked at, for want of applicationHost.config: locked sections, allowed server variables, ARR's settings, the pool, installed modules, the log's fields.";
