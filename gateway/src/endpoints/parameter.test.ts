import assert from "node:assert/strict";
import { test } from "node:test";
import type { FastifyRequest } from "fastify";
import {
  choice,
  duration,
  integer,
  matching,
  optional,
  readParameters,
  repeated,
  required,
  subject,
  withDefault,
} from "./parameter.ts";
import { testServer } from "./testing/server.ts";

const PARAMETERS = {
  subject: required(subject({ wildcards: false, example: "orders.new" })),
  timeout: withDefault(duration("How long.", { from: "1ms", to: "1m", example: "2s" }), "5s"),
  batch: optional(integer("How many.", { from: 1, to: 100, example: 10 })),
  as: optional(choice("How.", ["ack", "nak"], "ack")),
  kid: optional(matching("Which.", { grammar: /^[a-z]{1,4}$/, expected: "1 to 4 of a-z", example: "abc" })),
  key: repeated(matching("Keys.", { grammar: /^\d+$/, expected: "digits", example: "1" }), 2),
};

async function read(query: string): Promise<unknown> {
  const app = testServer();
  app.get("/", (request: FastifyRequest) => readParameters(request, PARAMETERS));
  return (await app.inject(`/${query}`)).json();
}

function refusal(name: string, why: string): unknown {
  return { ok: false, refusal: { reason: "request_invalid", what: `query parameter ${name}`, why } };
}

test("readParameters() gives what was written, or what stands for it", async () => {
  const value = { subject: "orders.new", timeout: 5_000, key: ["1"] };
  assert.deepEqual(await read("?subject=orders.new&key=1"), { ok: true, value });
  assert.deepEqual(await read("?subject=a&timeout=250ms&batch=7&as=nak&kid=abc&key=1&key=1"), {
    ok: true,
    value: { subject: "a", timeout: 250, batch: 7, as: "nak", kid: "abc", key: ["1"] },
  });
});

test("readParameters() refuses what is missing, repeated, unknown or not well-formed, by its name", async () => {
  const good = "?subject=a&key=1";
  assert.deepEqual(await read("?key=1"), refusal("subject", "expected once, found none"));
  assert.deepEqual(await read(`${good}&subject=b`), refusal("subject", "expected once, found 2 times"));
  assert.deepEqual(
    await read(`${good}&key=2&key=3`),
    refusal("key", "expected at most 2 times, found 3 times"),
  );
  assert.deepEqual(
    await read(`${good}&batches=1`),
    refusal("batches", "unknown; this endpoint takes subject, timeout, batch, as, kid, key"),
  );
  for (const batch of ["0", "101", "1.0", "1e1", "+1", "%201", "", "01"]) {
    const found = decodeURIComponent(batch) === "" ? "nothing" : decodeURIComponent(batch);
    const why = `expected a whole number from 1 to 100; found ${found === "+1" ? " 1" : found}`;
    assert.deepEqual(await read(`${good}&batch=${batch}`), refusal("batch", why));
  }
  assert.deepEqual(
    await read(`${good}&timeout=61s`),
    refusal("timeout", "expected a duration from 1ms to 1m such as 2s; found 61s"),
  );
  assert.deepEqual(await read(`${good}&as=term`), refusal("as", "expected one of ack, nak; found term"));
  assert.deepEqual(await read(`${good}&kid=ABC`), refusal("kid", "expected 1 to 4 of a-z; found ABC"));
});

test("readParameters() answers an ill-formed subject in the words that subjects have", async () => {
  assert.deepEqual(await read("?subject=a.*&key=1"), {
    ok: false,
    refusal: { reason: "subject_invalid", subject: "a.*", why: "has a wildcard" },
  });
});

test("subject() describes in its pattern what it reads", () => {
  const texts = [
    "a",
    "a.b",
    "a..b",
    ".a",
    "a.",
    "a.*",
    "*.a",
    "a.>",
    ">",
    "a.>.b",
    "a b",
    "ä",
    "a*",
    "a.-/,+=?~!",
  ];
  for (const wildcards of [true, false]) {
    const kind = subject({ wildcards, example: "a" });
    const pattern = new RegExp(String(kind.definition.schema.pattern));
    for (const text of texts) {
      const read = required(kind).read([text], "subject");
      const reserved = text.startsWith("*") || text === ">";
      if (!reserved) assert.equal(pattern.test(text), read.ok, `${text} with wildcards ${wildcards}`);
    }
  }
});
