import assert from "node:assert/strict";
import { test } from "node:test";
import { addJwks, type PublicJwk } from "./jwks.ts";
import { testServer } from "./testing/server.ts";

const KEY: PublicJwk = { kid: "current", exp: 100 };
const PAST: PublicJwk = { kid: "past", exp: 1 };

function serve(fail: () => boolean = () => false) {
  let now = 0;
  let asked = 0;
  const app = testServer();
  addJwks(
    app,
    {
      async current() {
        asked += 1;
        if (fail()) throw new Error("NATS is away at 10.0.0.1");
        return [KEY];
      },
      async get(kid) {
        if (fail()) throw new Error("NATS is away at 10.0.0.1");
        return [KEY, PAST].find((key) => key.kid === kid);
      },
    },
    () => now,
  );
  return {
    get: (query = "") => app.inject(`/.well-known/jwks.json${query}`),
    later: (seconds: number) => {
      now += seconds;
    },
    asked: () => asked,
  };
}

test("addJwks() serves the current keys, and a past one by its kid", async () => {
  const { get } = serve();
  const current = await get();
  assert.deepEqual([current.statusCode, current.json()], [200, { keys: [KEY] }]);
  assert.match(String(current.headers["content-type"]), /^application\/jwk-set\+json/);
  assert.deepEqual((await get("?kid=past")).json(), { keys: [PAST] });
});

test("addJwks() answers an unknown kid with 404, and what is none with 400", async () => {
  const { get } = serve();
  assert.equal((await get("?kid=nobodys")).statusCode, 404);
  for (const query of ["?kid=", "?kid=a%2Fb", `?kid=${"a".repeat(65)}`, "?kid=a&kid=b", "?key=a"]) {
    assert.equal((await get(query)).statusCode, 400, query);
  }
});

test("addJwks() asks the directory once a second, however many strangers ask", async () => {
  const { get, later, asked } = serve();
  await Promise.all([get(), get(), get()]);
  assert.equal(asked(), 1);
  later(1);
  await get();
  assert.equal(asked(), 2);
});

test("addJwks() says that it cannot answer, not why, and tries again at once", async () => {
  let away = true;
  const { get } = serve(() => away);
  for (const query of ["", "?kid=past"]) {
    const answer = await get(query);
    assert.deepEqual([answer.statusCode, answer.json().code], [503, "unavailable"]);
    assert.doesNotMatch(answer.body, /10\.0\.0\.1/);
  }
  away = false;
  assert.equal((await get()).statusCode, 200);
});
