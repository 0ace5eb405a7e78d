import assert from "node:assert/strict";
import { test } from "node:test";
import type { CredentialAsk, Issue } from "../issue.ts";
import { allowed, refused } from "../refusal.ts";
import { addCredentials } from "./credentials.ts";
import { testServer } from "./testing/server.ts";

test("the body is a key in plain text, and nothing in another type is taken for one", async () => {
  const asked: CredentialAsk["nkey"][] = [];
  const issue = {
    async credential({ nkey }: CredentialAsk) {
      asked.push(nkey);
      return refused({ reason: "proof_missing" });
    },
  } as unknown as Issue;
  const app = testServer();
  addCredentials(app, { presentedOf: () => allowed({} as never) }, { issue, servers: [] });
  const payload = `U${"A".repeat(55)}`;
  for (const type of ["text/plain; charset=utf-8", "application/json"]) {
    await app.inject({ method: "POST", url: "/v1/credentials", headers: { "content-type": type }, payload });
  }
  const found = "application/json";
  assert.deepEqual(asked, [
    allowed(payload),
    refused({ reason: "media_type_unsupported", found, expected: "text/plain" }),
  ]);
});
