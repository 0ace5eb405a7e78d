import assert from "node:assert/strict";
import { test } from "node:test";
import { PROBLEM_TITLES } from "./problem.ts";
import { addProblemPages } from "./problem-pages.ts";
import { testServer } from "./testing/server.ts";

test("addProblemPages() answers the type of every problem with its title, for a day and without a sign-in", async () => {
  const app = testServer();
  addProblemPages(app);
  for (const [code, title] of Object.entries(PROBLEM_TITLES)) {
    const answer = await app.inject(`/problems/${code}`);
    assert.equal(answer.statusCode, 200);
    assert.equal(answer.body.split("\n")[0], `${code}: ${title}.`);
    assert.equal(answer.headers["content-type"], "text/plain; charset=utf-8");
    assert.equal(answer.headers["cache-control"], "public, max-age=86400");
  }
});

test("addProblemPages() knows no other code", async () => {
  const app = testServer();
  addProblemPages(app);
  for (const code of ["", "toString", "not_allowed/", "NOT_ALLOWED"])
    assert.equal((await app.inject(`/problems/${code}`)).statusCode, 404);
});
