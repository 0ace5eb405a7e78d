import { z } from "zod";
import { NAME, VERB_FORMS, VERBS } from "./line.ts";
import { ISSUER } from "./parse-roles.ts";

/**
 * The policy file for editors, which complete and underline by it. `parsePolicy` stays the judge: whatever it
 * accepts, this accepts too (tested), and it says more of what is wrong.
 *
 * @returns JSON Schema, draft 2020-12
 */
export function policySchema(): object {
  return {
    title: "Countersign policy",
    ...z.toJSONSchema(document, { io: "input" }),
  };
}

const line = z
  .string()
  .regex(new RegExp(`^\\s*(${VERBS.join("|")})(\\s|$)`))
  .describe(`A verb, then its object:\n${Object.values(VERB_FORMS).join("\n")}`);
const text = z.string().min(1).max(512);
const texts = z.union([text, z.array(text).min(1)]);
const name = z.string().regex(NAME);
const issuer = z.string().regex(ISSUER).describe("The issuer's name in the configuration");

/** What `given-to` and `identities` say of anybody; other keys are attributes. */
const facts = {
  issuer,
  user: text.optional().describe("The id as the issuer writes it"),
  client: text.optional().describe("The application a user signed in through"),
  service: text.optional().describe("A token without a user: its client id"),
  acr: text.optional().describe("How the user signed in"),
  groups: texts.optional().describe("All of them; numbers need quotes"),
};

const given = z
  .object({
    ...facts,
    until: text
      .regex(/^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}:\d{2}(Z|[+-]\d{2}:\d{2}))?$/)
      .optional()
      .describe("The last day, 2026-12-31, or the moment of its end, 2026-12-31T18:00:00Z"),
  })
  .catchall(texts);

const limits = z.strictObject({
  credential: text.optional().describe("Life of a credential: 30s to 24h; the shortest of the roles counts"),
  payload: text.optional().describe("Largest message: 64KiB, at most 8MiB"),
  rate: text.optional().describe("Messages a second: 50/s"),
  connections: z
    .union([z.int().min(1).max(1000), text])
    .optional()
    .describe("Streams and connections open at once"),
});

const role = z.strictObject({
  "given-to": z.array(given).describe("Alternatives; within a line all must hold"),
  "acts-for": z
    .union([name, z.array(name)])
    .optional()
    .describe("Roles of the users it acts for; it may do no more than they"),
  may: z.array(line).optional().describe("What it grants"),
  never: z.array(line).optional().describe("What it forbids, whatever else grants it"),
  limits: limits.optional(),
});

const document = z.strictObject({
  version: z.literal(1),
  subjects: z
    .record(
      z.string().min(1).max(256),
      z.strictObject({ seal: z.enum(["tree", "token"]).optional(), audit: z.enum(["durable"]).optional() }),
    )
    .optional()
    .describe("What is true of a subject, whoever uses it"),
  roles: z.record(name, role).optional(),
  never: z.array(line).optional().describe("Wins over every role"),
  identities: z
    .record(
      name,
      z
        .object({
          ...facts,
          name: text.optional(),
          actor: text.optional().describe("Who acts for it: another identity"),
        })
        .catchall(texts),
    )
    .optional()
    .describe("Names for tests and for --as"),
  tests: z
    .array(z.strictObject({ as: name, allowed: z.array(line).optional(), refused: z.array(line).optional() }))
    .optional()
    .describe("Run by policy test, and before any policy goes live"),
});

/** Whether an editor would be content with a document. */
export function fitsSchema(value: unknown): boolean {
  return document.safeParse(value).success;
}
