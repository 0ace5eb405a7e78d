import { curlOf } from "./curl.ts";
import type { ApiPlace } from "./openapi.ts";
import { OPERATION_TAGS, type Operation } from "./operation.ts";
import type { Parameter } from "./parameter.ts";
import { PROBLEM_STATUS, PROBLEM_TITLES } from "./problem.ts";

/** What the page may load: nothing but its own style. */
export const API_PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";

/**
 * The same operations for people: one page without scripts, in the order of the headings.
 *
 * @returns HTML; everything that stands in it is escaped
 */
export function apiPageOf(operations: readonly Operation[], { url, exampleUrl, version }: ApiPlace): string {
  const byTag = Map.groupBy(operations, ({ tag }) => tag);
  const sections = Object.entries(OPERATION_TAGS).flatMap(([tag, title]) => {
    const those = byTag.get(tag as Operation["tag"]) ?? [];
    return those.length === 0 ? [] : [sectionOf(title, those, exampleUrl)];
  });
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Countersign API</title>
<style>${STYLE}</style>
<header>
<h1>Countersign over HTTP</h1>
<p>Version ${escaped(version)}, at <code>${escaped(url)}</code>. Machines read <a href="openapi.json">openapi.json</a>.
Every answer has an <code>X-Request-Id</code>; errors are <code>application/problem+json</code>, and their
<code>code</code> says what kind. A token stands in <code>$TOKEN</code> below; a browser that signed in needs none.</p>
</header>
<main>
${sections.join("\n")}
</main>
</html>
`;
}

function sectionOf(title: string, operations: readonly Operation[], exampleUrl: string): string {
  const articles = operations.map((operation) => articleOf(operation, exampleUrl));
  return `<section>\n<h2>${escaped(title)}</h2>\n${articles.join("\n")}\n</section>`;
}

function articleOf(operation: Operation, exampleUrl: string): string {
  const { id, method, path, summary, description = "", parameters, headers = {}, body, needs } = operation;
  const inputs = [
    ...Object.entries(parameters).map(([name, parameter]) => parameterRow(name, parameter)),
    ...Object.entries(headers).map(([name, header]) => row(name, "header", false, header.description)),
    ...(body ? [row("body", "body", body.required, body.description)] : []),
  ];
  return `<article id="${escaped(id)}">
<h3><code>${method} ${escaped(path)}</code> ${escaped(summary)}</h3>
<p>${prose(description)}${needs === "nothing" ? " Needs no sign-in." : ""}</p>
${inputs.length > 0 ? tableOf(["Name", "In", "", "What"], inputs) : ""}
${tableOf(["Status", "What"], answerRows(operation))}
<pre><code>${escaped(curlOf(operation, exampleUrl))}</code></pre>
</article>`;
}

function parameterRow(name: string, { description, required, schema, timesMax }: Parameter<unknown>): string {
  const facts = [
    description,
    timesMax > 1 ? `May stand ${timesMax} times.` : "",
    schema.default === undefined ? "" : `Default ${String(schema.default)}.`,
    Array.isArray(schema.enum) ? `One of ${schema.enum.join(", ")}.` : "",
    typeof schema.minimum === "number" ? `From ${schema.minimum} to ${String(schema.maximum)}.` : "",
  ];
  return row(name, "query", required, facts.filter((fact) => fact !== "").join(" "));
}

function row(name: string, place: string, required: boolean, what: string): string {
  return `<td><code>${escaped(name)}</code><td>${place}<td>${required ? "required" : ""}<td>${prose(what)}`;
}

function answerRows({ answers, problems }: Operation): string[] {
  const good = Object.entries(answers).map(
    ([status, { description }]) => `<td>${status}<td>${prose(description)}`,
  );
  const bad = problems.map(
    (code) => `<td>${PROBLEM_STATUS[code]}<td><code>${code}</code> ${escaped(PROBLEM_TITLES[code])}.`,
  );
  return [...good, ...bad];
}

function tableOf(heads: readonly string[], rows: readonly string[]): string {
  const head = heads.map((text) => `<th>${text}`).join("");
  return `<table>\n<tr>${head}\n${rows.map((cells) => `<tr>${cells}`).join("\n")}\n</table>`;
}

/** Words between backticks are set as code, as in the description that machines read. */
function prose(text: string): string {
  return escaped(text).replace(/`([^`]+)`/g, "<code>$1</code>");
}

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

const STYLE = `
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h3 { margin-top: 2.5rem; font-weight: 500; }
code { font-size: 0.9em; }
pre { overflow-x: auto; padding: 0.75rem; border: 1px solid; border-radius: 4px; }
table { border-collapse: collapse; width: 100%; margin: 0.75rem 0; }
th, td { text-align: left; vertical-align: top; padding: 0.25rem 1rem 0.25rem 0; border-bottom: 1px solid; }
`;
