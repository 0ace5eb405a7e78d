// Writes the pages that are made from the code. Its test fails when one was not written anew.
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { configSchema } from "countersign/config/schema.ts";
import { policySchema } from "countersign/policy/schema.ts";
import { z } from "zod";

/** What we read of a JSON Schema. */
interface Schema {
  readonly type?: string;
  /** Our own: what a text means. */
  readonly kind?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly additionalProperties?: Schema | boolean;
  readonly anyOf?: readonly Schema[];
}

const HEAD = `# The configuration file

Made from the code by \`tools/docs.ts\`; change the descriptions there.

\`countersign.yaml\`, found by \`--config\` or \`COUNTERSIGN_CONFIG\`. \`countersign serve --check\` reports every mistake with its
line and ends. Unknown keys are mistakes. Relative paths start at the folder of the file. Durations are written
\`250ms\`, \`2s\`, \`10m\`, \`1h\`, \`30d\`; sizes \`512B\`, \`64KiB\`, \`1MiB\`. Secrets are \`{ file: PATH }\`, a file that only its
owner may read, or \`{ env: NAME }\`; they are read when they are needed, so that a rotated one needs no restart.
Options whose name begins with \`dangerously-\` weaken a defence; what they say is what is lost.
`;

/** The reference of countersign.yaml, Markdown. */
function configurationPage(): string {
  const schema = configSchema({ base: "/", env: {}, probe: false });
  const json: Schema = z.toJSONSchema(schema, { io: "input" }) as Schema;
  return `${HEAD}\n${tableOf(json, "")}${sectionsOf(json, "")}`;
}

function tableOf({ properties = {}, required = [] }: Schema, before: string): string {
  const rows = Object.entries(properties).map(([key, schema]) => {
    const byDefault = required.includes(key) ? "required" : defaultOf(schema);
    return `| \`${before}${key}\` | ${kindOf(schema)} | ${byDefault} | ${(schema.description ?? "").replaceAll("|", "\\|")} |\n`;
  });
  return `| key | value | default | what it does |\n| --- | --- | --- | --- |\n${rows.join("")}`;
}

/** A section of its own for every map within. */
function sectionsOf({ properties = {} }: Schema, before: string): string {
  return Object.entries(properties)
    .flatMap(([key, schema]) => {
      const name = `${before}${key}`;
      const inner = mapWithin(schema);
      if (!inner || isSecret(inner.schema)) return [];
      const prefix = `${name}${inner.suffix}.`;
      return [`\n## ${name}\n\n${tableOf(inner.schema, prefix)}${sectionsOf(inner.schema, prefix)}`];
    })
    .join("");
}

function mapWithin(schema: Schema): { readonly schema: Schema; readonly suffix: string } | undefined {
  if (schema.properties) return { schema, suffix: "" };
  if (typeof schema.additionalProperties === "object") {
    const { additionalProperties: inner } = schema;
    return inner.properties && { schema: inner, suffix: ".NAME" };
  }
  const item = schema.items?.anyOf?.find(({ properties }) => properties);
  return item && { schema: item, suffix: "[]" };
}

function isSecret({ properties = {} }: Schema): boolean {
  return Object.keys(properties).join() === "file,env";
}

function kindOf(schema: Schema): string {
  if (schema.const !== undefined) return `\`${schema.const}\``;
  if (schema.enum) return schema.enum.map((value) => `\`${value}\``).join(", ");
  if (schema.anyOf) return schema.anyOf.map(kindOf).join(" or ");
  if (schema.properties) return isSecret(schema) ? "secret" : "map";
  if (typeof schema.additionalProperties === "object") return `map of ${kindOf(schema.additionalProperties)}`;
  if (schema.items) return `list of ${kindOf(schema.items)}`;
  if (schema.type === "boolean") return "`true` or `false`";
  return schema.type === "integer" ? "number" : (schema.kind ?? "text");
}

function defaultOf({ default: given, items }: Schema): string {
  if (items) return "none";
  return given === undefined || typeof given === "object" ? "" : `\`${String(given)}\``;
}

/** Path from the root → what belongs there. */
export const PAGES: Readonly<Record<string, () => string>> = {
  "docs/configuration.md": configurationPage,
  "docs/policy.schema.json": () => `${JSON.stringify(policySchema(), null, 2)}\n`,
};

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const root = dirname(dirname(fileURLToPath(import.meta.url)));
  for (const [page, make] of Object.entries(PAGES)) {
    mkdirSync(dirname(join(root, page)), { recursive: true });
    writeFileSync(join(root, page), make());
    console.error(`wrote ${page}`);
  }
}
