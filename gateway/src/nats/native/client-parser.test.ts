import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ClientParser } from "./client-parser.ts";

/** Everything a parser is told, in order, as text. */
function parserOf(payloadBytesMax = 1_000): { readonly parser: ClientParser; readonly told: string[] } {
  const told: string[] = [];
  const parser = new ClientParser(
    {
      connect: (json) => told.push(`connect ${json.trim()}`),
      publish: ({ subject, reply, headers, payload }) =>
        told.push(`publish ${subject} ${reply} ${headers?.toString("latin1")} ${payload.toString("latin1")}`),
      subscribe: (subject, queue, sid) => told.push(`subscribe ${subject} ${queue} ${sid}`),
      unsubscribe: (sid, max) => told.push(`unsubscribe ${sid} ${max}`),
      ping: () => told.push("ping"),
      pong: () => told.push("pong"),
      fault: (fault) => told.push(`fault ${fault}`),
    },
    { connectBytesMax: 10_000 },
  );
  parser.payloadBytesMax = payloadBytesMax;
  return { parser, told };
}

function read(text: string, cuts: readonly number[] = []): readonly string[] {
  const { parser, told } = parserOf();
  const bytes = Buffer.from(text, "latin1");
  let from = 0;
  for (const cut of [...cuts, bytes.length]) {
    // A chunk of its own, so that what is kept of it cannot change behind our back.
    parser.feed(Buffer.from(bytes.subarray(from, cut)));
    from = cut;
  }
  return told;
}

const ALL =
  'CONNECT {"a":1}\r\nPING\r\nSUB a.> 1\r\nSUB a.b q 2\r\nUNSUB 1\r\nUNSUB 2 5\r\nPUB a 3\r\nxyz\r\n' +
  "PUB a.b _INBOX.1 0\r\n\r\nHPUB h 12 15\r\nNATS/1.0\r\n\r\nabc\r\nHPUB h r 12 12\r\nNATS/1.0\r\n\r\n\r\nPONG\r\n";

const TOLD: readonly string[] = [
  'connect {"a":1}',
  "ping",
  "subscribe a.> undefined 1",
  "subscribe a.b q 2",
  "unsubscribe 1 undefined",
  "unsubscribe 2 5",
  "publish a undefined undefined xyz",
  "publish a.b _INBOX.1 undefined ",
  "publish h undefined NATS/1.0\r\n\r\n abc",
  "publish h r NATS/1.0\r\n\r\n ",
  "pong",
];

test("ClientParser reads every command, in one chunk and byte by byte", () => {
  assert.deepEqual(read(ALL), TOLD);
  assert.deepEqual(
    read(
      ALL,
      Array.from({ length: ALL.length - 1 }, (_, at) => at + 1),
    ),
    TOLD,
  );
});

test("ClientParser reads the same wherever the chunks are cut", () => {
  const cuts = fc
    .uniqueArray(fc.integer({ min: 1, max: ALL.length - 1 }))
    .map((at) => at.sort((a, b) => a - b));
  fc.assert(fc.property(cuts, (at) => assert.deepEqual(read(ALL, at), TOLD)));
});

test("ClientParser takes verbs in any case, tabs, several blanks and a bare LF, as nats-server does", () => {
  assert.deepEqual(
    read("ping\nSub\ta.b \t q  7\nuNsUb 7\nPuB  a\t1\nx\r\nhpub a  12 12\nNATS/1.0\r\n\r\n\r\n"),
    [
      "ping",
      "subscribe a.b q 7",
      "unsubscribe 7 undefined",
      "publish a undefined undefined x",
      "publish a undefined NATS/1.0\r\n\r\n ",
    ],
  );
});

for (const [what, text] of [
  ["a verb of servers", "MSG a 1 1\r\nx\r\n"],
  ["INFO", "INFO {}\r\n"],
  ["+OK", "+OK\r\n"],
  ["an empty line", "\r\n"],
  ["a verb without its blank", "PUBa 1\r\nx\r\n"],
  ["PUB without a size", "PUB a\r\n"],
  ["PUB without anything", "PUB \r\n"],
  ["PUB with too much", "PUB a b c 1\r\nx\r\n"],
  ["a size that is no number", "PUB a 1x\r\nx\r\n"],
  ["a negative size", "PUB a -1\r\n"],
  ["a size with more digits than any has", "PUB a 0000000001\r\nx\r\n"],
  ["more headers than message", "HPUB a 13 12\r\nNATS/1.0\r\n\r\n\r\n"],
  ["HPUB with one size", "HPUB 12\r\nNATS/1.0\r\n\r\n\r\n"],
  ["a payload that ends early", "PUB a 2\r\nx\r\n\r\n"],
  ["a payload that ends in a bare LF", "PUB a 1\r\nx\nPING\r\n"],
  ["a payload longer than it says", "PUB a 1\r\nxyz\r\n"],
  ["SUB without a sid", "SUB a\r\n"],
  ["SUB with too much", "SUB a b c d\r\n"],
  ["a sid beyond its bound", `SUB a ${"1".repeat(33)}\r\n`],
  ["UNSUB of nothing", "UNSUB\r\n"],
  ["UNSUB after no number", "UNSUB 1 x\r\n"],
  ["CONNECT without options", "CONNECT\r\n"],
  ["HTTP", "GET / HTTP/1.1\r\n"],
] as const) {
  test(`ClientParser ends at ${what}`, () => {
    assert.deepEqual(read(`${text}PING\r\n`), ["fault Unknown Protocol Operation"]);
  });
}

test("ClientParser bounds a control line before its end has come, and CONNECT by a bound of its own", () => {
  assert.deepEqual(read(`SUB ${"a".repeat(4_092)}`), []);
  assert.deepEqual(read(`SUB ${"a".repeat(4_093)}`), ["fault Maximum Control Line Exceeded"]);
  assert.deepEqual(read(`CONNECT ${"a".repeat(9_000)}\r\n`), [`connect ${"a".repeat(9_000)}`]);
  assert.deepEqual(read(`connect ${"a".repeat(9_993)}`), ["fault Maximum Control Line Exceeded"]);
});

test("ClientParser refuses a message over the bound before it has come", () => {
  assert.deepEqual(read("PUB a 1001\r\n"), ["fault Maximum Payload Violation"]);
  assert.deepEqual(read("HPUB a 12 1001\r\n"), ["fault Maximum Payload Violation"]);
});

test("ClientParser stops before the next command while paused, even from within one", () => {
  const told: string[] = [];
  const parser: ClientParser = new ClientParser(
    {
      connect: () => {},
      publish: () => {},
      subscribe: () => {},
      unsubscribe: () => {},
      ping() {
        told.push("ping");
        parser.pause();
      },
      pong: () => told.push("pong"),
      fault: (fault) => told.push(fault),
    },
    { connectBytesMax: 10 },
  );
  parser.feed(Buffer.from("PING\r\nPONG\r\nPI"));
  parser.feed(Buffer.from("NG\r\nPONG\r\n"));
  assert.deepEqual(told, ["ping"]);
  parser.resume();
  assert.deepEqual(told, ["ping", "pong", "ping"]);
  parser.resume();
  assert.deepEqual(told, ["ping", "pong", "ping", "pong"]);
});

test("ClientParser survives any bytes in any pieces, and stops at the first fault", () => {
  const piece = fc.oneof(
    fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
    fc
      .constantFrom("PUB a 3\r\n", "xyz\r\n", "HPUB ", "SUB ", "\r\n", "12 ", "PING\r\n", "\t")
      .map((t) => Buffer.from(t)),
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 40 }), (pieces) => {
      const { parser, told } = parserOf(64);
      for (const one of pieces) parser.feed(one);
      const fault = told.findIndex((line) => line.startsWith("fault"));
      assert(fault === -1 || fault === told.length - 1, told.join("\n"));
    }),
  );
});
