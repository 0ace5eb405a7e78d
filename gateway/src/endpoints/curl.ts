import type { Operation } from "./operation.ts";

/**
 * The published example of an operation: what somebody pastes into a shell, with a token in `$TOKEN`. It is made of the
 * examples of what is required and of little more, and is run as a test (`test/56-api.test.ts`).
 *
 * @param url  where all paths hang; may name a variable of the shell
 */
export function curlOf(operation: Operation, url: string): string {
  const { method, path, parameters, body, needs, answers } = operation;
  const query = Object.entries(parameters)
    .filter(([, { shown }]) => shown)
    .map(
      ([name, { example }]) => `${name}=${example.startsWith("$") ? example : encodeURIComponent(example)}`,
    )
    .join("&");
  const target = `${url}${path}${query === "" ? "" : `?${query}`}`;
  const streams = Object.values(answers).some(({ content }) => content?.["text/event-stream"]);
  const options = [
    streams ? "-N" : "",
    method === "GET" ? "" : `-X ${method}`,
    needs === undefined ? `-H "Authorization: Bearer $TOKEN"` : "",
    needs === "session" ? `-b "$COOKIE"` : "",
    ...headersOf(operation),
    ...(body ? bodyOf(body.content) : []),
  ].filter((option) => option !== "");
  return ["curl -sS --fail-with-body", ...options, quoted(target)].join(" ");
}

function headersOf({ headers = {} }: Operation): string[] {
  return Object.entries(headers)
    .filter(([, { shown }]) => shown)
    .map(([name, { example }]) => `-H ${quoted(`${name}: ${example}`)}`);
}

function bodyOf(content: NonNullable<Operation["body"]>["content"]): string[] {
  const [type = "", { example = "" } = {}] = Object.entries(content)[0] ?? [];
  const text = typeof example === "string" ? example : JSON.stringify(example);
  const named = type.includes("*") ? [] : [`-H ${quoted(`Content-Type: ${type}`)}`];
  return [...named, `--data-binary ${quoted(text)}`];
}

/** In single quotes; in double ones where it names a variable of the shell. */
function quoted(text: string): string {
  return text.includes("$") ? `"${text.replace(/["\\`]/g, "\\$&")}"` : `'${text.replaceAll("'", "'\\''")}'`;
}
