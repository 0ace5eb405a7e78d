import assert from "node:assert/strict";
import { test } from "node:test";
import { parseStreamAnswer } from "./stream-answer.ts";

function parsed(text: string): unknown {
  return parseStreamAnswer(Buffer.from(text));
}

test("parseStreamAnswer() reads what JetStream answers", () => {
  assert.deepEqual(parsed('{"stream":"ORDERS","seq":7}'), {
    stored: true,
    stream: "ORDERS",
    sequence: 7,
    duplicate: false,
  });
  assert.deepEqual(parsed('{"stream":"S","domain":"d","seq":1,"duplicate":true}'), {
    stored: true,
    stream: "S",
    sequence: 1,
    duplicate: true,
  });
  const error = { code: 400, err_code: 10071, description: "wrong last sequence: 5" };
  assert.deepEqual(parsed(JSON.stringify({ error, stream: "S", seq: 0 })), {
    stored: false,
    status: 400,
    code: 10071,
    description: "wrong last sequence: 5",
  });
});

test("parseStreamAnswer() takes nothing else for one, whoever answers", () => {
  const others = [
    ...[
      "",
      "done",
      "null",
      "[]",
      "{}",
      "7",
      '{"stream":"S"}',
      '{"stream":"S","seq":0}',
      '{"stream":"","seq":1}',
    ],
    ...['{"stream":"S","seq":"1"}', '{"stream":"S","seq":1.5}', '{"stream":7,"seq":1}', '{"error":"no"}'],
    ...['{"error":{"code":400}}', '{"error":{"code":"400","err_code":1}}'],
    `{"stream":"${"S".repeat(5_000)}","seq":1}`,
  ];
  for (const other of others) assert.equal(parsed(other), undefined, other.slice(0, 60));
  assert.equal(parseStreamAnswer(Buffer.from([0xff, 0xfe])), undefined);
});
