import assert from "node:assert/strict";
import { test } from "node:test";
import { readAck, readPull } from "./pull-request.ts";

const read = (reader: typeof readPull, text: string): string | false => {
  const outcome = reader(Buffer.from(text));
  return outcome.ok && Buffer.from(outcome.value).toString();
};

test("readPull() writes anew what it understands", () => {
  for (const text of [
    "",
    "10",
    '{"batch":100,"max_bytes":0,"idle_heartbeat":15000000000,"expires":30000000000}',
    '{"batch":1,"no_wait":true}',
  ]) {
    assert.equal(read(readPull, text), text);
  }
  assert.equal(read(readPull, ' { "batch" : 1 } '), '{"batch":1}');
});

test("readPull() refuses what it does not", () => {
  for (const text of [
    "-1",
    "1000000000",
    "[]",
    "{",
    '{"batch":1,"batch":2}',
    '{"batch":-1}',
    '{"batch":1.5}',
    '{"batch":"1"}',
    '{"group":"a"}',
    '{"constructor":1}',
    '{"no_wait":1}',
    `{"batch":${" ".repeat(2_000)}1}`,
  ]) {
    assert.equal(read(readPull, text), false, text.slice(0, 40));
  }
});

test("readAck() takes every form of acknowledgement, and nothing else", () => {
  for (const text of [
    "",
    "+ACK",
    "-NAK",
    '-NAK {"delay":1000}',
    "-NAK 10s",
    "+WPI",
    "+TERM",
    "+TERM no such order",
    "+NXT",
    "+NXT 5",
    '+NXT {"batch":1,"no_wait":false}',
  ]) {
    assert.equal(read(readAck, text), text);
  }
  for (const text of [
    "ACK",
    "+ACK now",
    "+ack",
    "-NAK tomorrow",
    '-NAK {"delay":1,"delay":2}',
    '-NAK {"delay":99999999999999}',
    "+TERM \u001b[2J",
    "+NXT {}x",
    '+NXT {"group":"a"}',
    " ",
    "+ACK\r\n",
  ]) {
    assert.equal(read(readAck, text), false, text);
  }
});
