import { existsSync, readFileSync, statSync } from "node:fs";
import { join, posix } from "node:path";

export interface Finding {
  /** From the root, with `/`. */
  readonly file: string;
  /** 1-based. */
  readonly line: number;
  readonly why: string;
}

/** One `from "…"` of a file. */
interface Import {
  readonly line: number;
  /** Path of the file it names, from the root, with `/`; undefined for a package that is not ours. */
  readonly target?: string;
}

/** What each file of ours imports of ours, by path from the root. */
export type ImportGraph = ReadonlyMap<string, readonly Import[]>;

/** Parts that every part of the gateway may import. */
const FREE = new Set(["refusal", "errors", "time", "near", "bounded-map"]);

const IMPORT = /(?:^|[^\w.])(?:from|import)\s*\(?\s*"([^"]+)"/;

export function importGraphOf(root: string, files: readonly string[]): ImportGraph {
  const known = new Set(files);
  return new Map(files.filter(isScript).map((file) => [file, importsOf(root, file, known)]));
}

export function isScript(file: string): boolean {
  return /\.(ts|mjs)$/.test(file) && !file.endsWith(".d.ts");
}

/** Tests, and what only tests use. */
export function isTest(file: string): boolean {
  return file.endsWith(".test.ts") || file.includes("/testing/") || file.startsWith("test/");
}

function importsOf(root: string, file: string, known: ReadonlySet<string>): readonly Import[] {
  return readFileSync(join(root, file), "utf8")
    .split("\n")
    .flatMap((text, index) => {
      const specifier = /^\s*(\*|\/\/|\/\*)/.test(text) ? undefined : IMPORT.exec(text)?.[1];
      if (specifier === undefined) return [];
      const target = targetOf(file, specifier);
      return [{ line: index + 1, ...(target !== undefined && known.has(target) && { target }) }];
    });
}

function targetOf(file: string, specifier: string): string | undefined {
  if (specifier.startsWith(".")) return posix.join(posix.dirname(file), specifier);
  if (specifier === "@countersign/seal") return "seal/src/index.ts";
  if (specifier.startsWith("@countersign/devstack/"))
    return specifier.replace("@countersign/devstack/", "devstack/src/");
  if (specifier.startsWith("countersign/")) return `gateway/src/${specifier.slice("countersign/".length)}`;
  return undefined;
}

/** @returns the part a file belongs to: its folder under gateway/src, its own name there, or `seal` */
function partOf(file: string): string | undefined {
  if (file.startsWith("seal/src/")) return "seal";
  return /^gateway\/src\/([^/]+?)(?:\.ts|\/)/.exec(file)?.[1];
}

/** Arrows that the table of ARCHITECTURE.md does not have, and parts it does not know. */
export function checkArrows(root: string, graph: ImportGraph): readonly Finding[] {
  const table = parseTable(readFileSync(join(root, "ARCHITECTURE.md"), "utf8"));
  const findings: Finding[] = [];
  for (const [file, imports] of graph) {
    const part = partOf(file);
    if (part === undefined || isTest(file)) continue;
    const may = table.get(part);
    if (!may && !FREE.has(part)) {
      findings.push({ file, line: 1, why: `the import table of ARCHITECTURE.md has no row for ${part}` });
      continue;
    }
    for (const { line, target } of imports) {
      const other = target && partOf(target);
      if (other === undefined || other === part || may?.has(other) || (FREE.has(other) && part !== "seal"))
        continue;
      findings.push({ file, line, why: `${part} may not import ${other}: no such arrow in ARCHITECTURE.md` });
    }
  }
  return findings;
}

function parseTable(markdown: string): ReadonlyMap<string, ReadonlySet<string>> {
  const rows = [...markdown.matchAll(/^\| *([a-z-, ]+?) *\|([^|]*)\| *$/gm)];
  const table = new Map<string, ReadonlySet<string>>();
  for (const [, parts = "", may = ""] of rows) {
    const names = new Set(
      may
        .split(",")
        .map((name) => name.trim())
        .filter(Boolean),
    );
    for (const part of parts.split(",")) table.set(part.trim(), names);
  }
  table.delete("part");
  return table;
}

/** Each circle once, named at one of its files. */
export function checkCycles(graph: ImportGraph): readonly Finding[] {
  const findings: Finding[] = [];
  const done = new Set<string>();
  const onPath: string[] = [];

  function visit(file: string): void {
    const from = onPath.indexOf(file);
    if (from >= 0) {
      const circle = [...onPath.slice(from), file].join(" → ");
      findings.push({ file, line: 1, why: `imports itself in a circle: ${circle}` });
      return;
    }
    if (done.has(file)) return;
    onPath.push(file);
    for (const { target } of graph.get(file) ?? []) if (target !== undefined) visit(target);
    onPath.pop();
    done.add(file);
  }

  for (const file of graph.keys()) visit(file);
  return findings;
}

/**
 * Files that nothing reaches from a program, and helpers of tests that no test reaches; the devstack serves both.
 * Programs are what package.json names, and whatever stands in bench, examples and tools.
 */
export function checkDead(root: string, graph: ImportGraph): readonly Finding[] {
  const files = [...graph.keys()];
  const named = namedByPackages(root);
  const live = reachable(
    graph,
    files.filter((file) => isProgram(file) || named.has(file)),
  );
  const tests = files.filter((file) => file.endsWith(".test.ts") || file.startsWith("test/"));
  const liveInTests = reachable(graph, tests);
  const isDead = (file: string) =>
    !live.has(file) && !((isTest(file) || file.startsWith("devstack/")) && liveInTests.has(file));
  return files.filter(isDead).map((file) => ({
    file,
    line: 1,
    why: liveInTests.has(file) ? "only tests use this file" : "nothing uses this file",
  }));
}

function isProgram(file: string): boolean {
  return /^(bench|examples|tools)\//.test(file) || file === "seal/vectors/generate.ts";
}

/** Scripts, binaries and entry points of every package.json. */
function namedByPackages(root: string): ReadonlySet<string> {
  const named = new Set<string>();
  for (const folder of ["", "seal", "gateway", "devstack"]) {
    const path = join(root, folder, "package.json");
    if (!existsSync(path) || !statSync(path).isFile()) continue;
    for (const [, file = ""] of readFileSync(path, "utf8").matchAll(/([\w./-]+\.(?:ts|mjs))/g)) {
      named.add(posix.join(folder, file));
    }
  }
  return named;
}

function reachable(graph: ImportGraph, from: readonly string[]): ReadonlySet<string> {
  const seen = new Set<string>();
  const waiting = [...from];
  for (let file = waiting.pop(); file !== undefined; file = waiting.pop()) {
    if (seen.has(file)) continue;
    seen.add(file);
    for (const { target } of graph.get(file) ?? []) if (target !== undefined) waiting.push(target);
  }
  return seen;
}
