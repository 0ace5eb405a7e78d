import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { startTestStack, type TestStack } from "./support.ts";

const ROLES = 1_000;
const RULES = 20;
/** As many roles on one identity make a credential of 180 kB, in one line of CONNECT. */
const ROLES_OF_ALICE = 200;

function largePolicy(): string {
  const roles = Array.from({ length: ROLES }, (_, role) => {
    const group = role < ROLES_OF_ALICE ? "Orders.Clerks" : `Group-${role}`;
    const rules = Array.from(
      { length: RULES },
      (_, rule) => `      - publish area${role}.{region}.*.action${rule}`,
    );
    return `  role-${role}:\n    given-to: [ { issuer: demo, groups: ${group} } ]\n    may:\n${rules.join("\n")}\n`;
  });
  return `version: 1\nroles:\n${roles.join("")}`;
}

let stack: TestStack;
before(async () => {
  stack = await startTestStack({ policy: largePolicy() });
});
after(async () => stack?.stop());

test("two hundred roles on one user are decided, and carried to NATS in one credential", async () => {
  const token = stack.token("alice");
  const publish = async (subject: string): Promise<number> =>
    (await stack.call(`/v1/publish?subject=${subject}`, { method: "POST", token, body: "1" })).status;

  const whoami = await stack.call("/v1/whoami", { token });
  assert.equal(whoami.status, 200, whoami.text);
  const { roles } = whoami.json();
  assert.equal((roles as readonly string[]).length, ROLES_OF_ALICE);
  const arrived: string[] = [];
  stack.admin.subscribe("area*.>", { callback: (_, { subject }) => void arrived.push(subject) });
  await stack.admin.flush();
  assert.equal(await publish("area0.eu.1.action0"), 202);
  assert.equal(await publish(`area${ROLES_OF_ALICE - 1}.eu.1.action${RULES - 1}`), 202);
  assert.equal(await publish(`area${ROLES_OF_ALICE}.eu.1.action0`), 403, "the first role that is not hers");
  assert.equal(await publish("area0.us.1.action0"), 403);
  await stack.admin.flush();
  const completions = stack.audit().filter(({ kind }) => kind === "completion");
  assert.ok(
    completions.every(({ outcome }) => outcome !== "refused"),
    "nats-server agrees",
  );
});
