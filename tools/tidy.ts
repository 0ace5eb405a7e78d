// The house rules that neither the compiler nor the linter knows. Prints each finding as file:line and why.
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  checkArrows,
  checkCycles,
  checkDead,
  type Finding,
  importGraphOf,
  isScript,
  isTest,
} from "./tidy-imports.ts";

/** A file longer than this holds more than one idea. */
const LINES_MAX = 400;

interface Banned {
  readonly pattern: RegExp;
  readonly why: string;
  readonly where: (file: string) => boolean;
  /** Comments count too. */
  readonly inComments?: boolean;
}

const inProduct = (file: string) => /^(gateway|seal)\/src\//.test(file) && isScript(file) && !isTest(file);
/** These two spell out what they look for. */
const isOurs = (file: string) => /^tools\/tidy/.test(file);

/** All that may read the clock: what composes the server, what composes a command, and the verifier's default. */
const CLOCKS = new Set(["gateway/src/gateway.ts", "gateway/src/main.ts", "seal/src/verify.ts"]);

const BANNED: readonly Banned[] = [
  {
    pattern: /\bDate\.now\b|\bnew Date\(\)|\bperformance\.now\b/,
    why: "reads the clock; take it as an argument, so that tests can say what time it is",
    where: (file) => inProduct(file) && !CLOCKS.has(file),
  },
  {
    pattern: /\bconsole\./,
    why: "writes to the console; a server has a log, and a library's user has their own",
    where: inProduct,
  },
  {
    pattern: /\b(?:test|describe|it)\.only\(|\bonly: true\b/,
    why: "runs one test and hides the others",
    where: (file) => isScript(file) && !isOurs(file),
  },
  { pattern: /^\s*debugger\b/, why: "stops in the debugger", where: isScript },
  {
    pattern: /\b(?:TODO|FIXME|XXX)\b/,
    why: "says that it is unfinished; finish it, or leave it out and say so in the documentation",
    where: (file) => isScript(file) && !isOurs(file),
    inComments: true,
  },
];

/**
 * Checks a tree.
 *
 * @param files  from the root, with `/`: what is, or is about to be, under version control
 * @returns in the order of the files
 */
export function tidy(root: string, files: readonly string[]): readonly Finding[] {
  const present = files.filter((file) => existsSync(join(root, file)) && statSync(join(root, file)).isFile());
  const graph = importGraphOf(root, present);
  const findings = [
    ...checkArrows(root, graph),
    ...checkCycles(graph),
    ...checkDead(root, graph),
    ...present.flatMap((file) => checkText(root, file)),
    ...checkArms(root, present),
  ];
  return findings.sort((a, b) => (a.file < b.file ? -1 : a.file > b.file ? 1 : a.line - b.line));
}

function checkText(root: string, file: string): readonly Finding[] {
  const bytes = readFileSync(join(root, file));
  // Pictures and the like.
  if (bytes.includes(0)) return [];
  const lines = bytes.toString("utf8").split("\n");
  const findings = lines.flatMap((text, index) =>
    [...bannedIn(file, text), ...machineIn(root, file, text)].map((why) => ({ file, line: index + 1, why })),
  );
  if (inProduct(file) && lines.length > LINES_MAX + 1) {
    findings.push({
      file,
      line: LINES_MAX + 1,
      why: `longer than ${LINES_MAX} lines; it holds more than one idea`,
    });
  }
  return findings;
}

function bannedIn(file: string, text: string): readonly string[] {
  const code = /^\s*(\*|\/\/|\/\*)/.test(text) ? "" : text.replace(/\s\/\/ .*$/, "");
  return BANNED.filter(
    ({ pattern, where, inComments }) => where(file) && pattern.test(inComments ? text : code),
  ).map(({ why }) => why);
}

/** What belongs to one machine: its folders, and where it downloads from. */
function machineIn(root: string, file: string, text: string): readonly string[] {
  const why: string[] = [];
  const folders = [root, homedir()].filter((folder) => folder.length > 1);
  const isPath = /(?<![\w.:/-])\/(?:home|Users)\/[a-z][\w-]*\//.test(text);
  if (isPath || folders.some((folder) => new RegExp(`(?<![\\w.-])${literally(folder)}[/"'\\s]`).test(text))) {
    why.push("names a folder of one machine");
  }
  if (file.endsWith("package-lock.json") && /"resolved": "(?!file:)[^"]*:\/\//.test(text)) {
    why.push("names the address it was downloaded from; npm install with omit-lockfile-registry-resolved");
  }
  return why;
}

function literally(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
}

/** Answers every arm by a table, and so proves of none that anything provokes it. */
const TABLE_OF_ARMS = "gateway/src/endpoints/problem.test.ts";

/** Every Refusal arm is named by a test that provokes it. */
function checkArms(root: string, files: readonly string[]): readonly Finding[] {
  const file = "gateway/src/refusal.ts";
  if (!files.includes(file)) return [];
  const tests = files
    .filter((test) => isTest(test) && isScript(test) && test !== TABLE_OF_ARMS)
    .map((test) => readFileSync(join(root, test), "utf8"));
  return readFileSync(join(root, file), "utf8")
    .split("\n")
    .flatMap((text, index) => {
      const arm = /readonly reason: "(\w+)"/.exec(text)?.[1];
      if (arm === undefined || tests.some((test) => test.includes(`"${arm}"`))) return [];
      return [{ file, line: index + 1, why: `no test provokes "${arm}"` }];
    });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const root = dirname(dirname(fileURLToPath(import.meta.url)));
  const listed = execFileSync("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], {
    cwd: root,
    encoding: "utf8",
    maxBuffer: 64 * 1_048_576,
  });
  const findings = tidy(root, [...new Set(listed.split("\0").filter(Boolean))]);
  for (const { file, line, why } of findings) console.error(`${file}:${line}: ${why}`);
  console.error(findings.length === 0 ? "tidy: nothing to mend" : `tidy: ${findings.length} to mend`);
  process.exitCode = findings.length === 0 ? 0 : 1;
}
