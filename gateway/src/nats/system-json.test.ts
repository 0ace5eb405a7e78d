import assert from "node:assert/strict";
import { test } from "node:test";
import { readServer } from "./system-json.ts";

test("readServer() counts the servers that one knows of, and those its routes lead to", () => {
  const server = { id: "N1", name: "one" };
  const routes = ["two", "two", "three"].map((name) => ({ rid: 1, name }));
  assert.deepEqual(readServer({ server, statsz: { active_servers: 3 } }), { ...server, there: 3 });
  // Just started: it has heard of nobody yet.
  assert.deepEqual(readServer({ server, statsz: { active_servers: 1, routes } }), { ...server, there: 3 });
  assert.deepEqual(readServer({ server }), { ...server, there: 1 });
  assert.equal(readServer({ statsz: { active_servers: 3 } }), undefined);
});
