import type { TestEvent } from "node:test/reporters";

/** Reports only what was skipped and why, after everything else: a skipped suite must not look like a passed one. */
// biome-ignore lint/style/noDefaultExport: node:test takes a reporter by its default export.
export default async function* skippedReporter(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  const skipped = new Map<string, string[]>();
  for await (const event of events) {
    if (event.type !== "test:pass" || typeof event.data.skip !== "string") continue;
    const names = skipped.get(event.data.skip) ?? [];
    skipped.set(event.data.skip, [...names, event.data.name]);
  }
  for (const [reason, names] of skipped) {
    yield `\n!! SKIPPED (${names.length}): ${reason}\n${names.map((name) => `!!   ${name}\n`).join("")}`;
  }
}
