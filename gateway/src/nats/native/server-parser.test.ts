import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type MessageHead, ServerParser, type Way } from "./server-parser.ts";

interface Heard {
  readonly parser: ServerParser;
  readonly messages: string[];
  readonly lines: string[];
  readonly wholes: string[];
  readonly out: () => string;
  readonly faults: string[];
}

function hear(wayOf: (subject: string) => Way | Buffer = () => "pass"): Heard {
  const [messages, lines, wholes, faults]: [string[], string[], string[], string[]] = [[], [], [], []];
  const parts: Buffer[] = [];
  const text = ({ bytes, subjectStart, subjectEnd }: MessageHead): string =>
    bytes.toString("latin1", subjectStart, subjectEnd);
  const parser = new ServerParser({
    message(head) {
      const reply = head.bytes.toString("latin1", head.replyStart, head.replyEnd);
      messages.push(`${text(head)} ${head.sid} [${reply}] ${head.headerBytes} ${head.totalBytes}`);
      return wayOf(text(head));
    },
    whole: (head, bytes) => wholes.push(`${text(head)}: ${bytes.toString("latin1", head.end)}`),
    line: (line) => lines.push(line),
    out: (bytes) => parts.push(Buffer.from(bytes)),
    fault: (why) => faults.push(why),
  });
  return { parser, messages, lines, wholes, faults, out: () => Buffer.concat(parts).toString("latin1") };
}

const MESSAGES =
  "MSG a.b 1 3\r\nxyz\r\nMSG keep 2 _INBOX.r 0\r\n\r\nPING\r\nHMSG drop abc 12 14\r\nNATS/1.0\r\n\r\nhi\r\n" +
  "-ERR 'x'\r\nHMSG whole 4 r.s 12 12\r\nNATS/1.0\r\n\r\n\r\nMSG head 5 2\r\nok\r\nPONG\r\nMSG a 0 1\r\n\n\r\n";

function wayOf(subject: string): Way | Buffer {
  if (subject === "drop" || subject === "whole") return subject;
  return subject === "head" ? Buffer.from("MSG tail 5 2\r\n") : "pass";
}

const HEARD = {
  messages: [
    "a.b 1 [] 0 3",
    "keep 2 [_INBOX.r] 0 0",
    "drop abc [] 12 14",
    "whole 4 [r.s] 12 12",
    "head 5 [] 0 2",
    "a 0 [] 0 1",
  ],
  lines: ["PING", "-ERR 'x'", "PONG"],
  wholes: ["whole: NATS/1.0\r\n\r\n\r\n"],
  out: "MSG a.b 1 3\r\nxyz\r\nMSG keep 2 _INBOX.r 0\r\n\r\nMSG tail 5 2\r\nok\r\nMSG a 0 1\r\n\n\r\n",
  faults: [],
};

function heardOf(text: string, cuts: readonly number[]): typeof HEARD {
  const { parser, messages, lines, wholes, faults, out } = hear(wayOf);
  let from = 0;
  for (const cut of [...cuts, text.length]) {
    parser.feed(Buffer.from(text.slice(from, cut), "latin1"));
    from = cut;
  }
  return { messages, lines, wholes, out: out(), faults: faults as never[] };
}

test("ServerParser passes, drops, rewrites and gathers messages, in one chunk and byte by byte", () => {
  assert.deepEqual(heardOf(MESSAGES, []), HEARD);
  assert.deepEqual(
    heardOf(
      MESSAGES,
      Array.from({ length: MESSAGES.length - 1 }, (_, at) => at + 1),
    ),
    HEARD,
  );
});

test("ServerParser reads the same wherever the chunks are cut", () => {
  const cuts = fc
    .uniqueArray(fc.integer({ min: 1, max: MESSAGES.length - 1 }))
    .map((at) => at.sort((a, b) => a - b));
  fc.assert(fc.property(cuts, (at) => assert.deepEqual(heardOf(MESSAGES, at), HEARD)));
});

test("ServerParser copies nothing of what passes: it is part of the chunk", () => {
  const chunk = Buffer.from("MSG a 1 3\r\nxyz\r\nMSG a 1 3\r\nxyz\r\n");
  const parts: Buffer[] = [];
  const parser = new ServerParser({
    message: () => "pass",
    whole: () => {},
    line: () => {},
    out: (bytes) => parts.push(bytes),
    fault: () => {},
  });
  parser.feed(chunk);
  assert.equal(parts.length, 1);
  assert.equal(parts[0]?.buffer, chunk.buffer);
  assert.equal(parser.inMessage, false);
  parser.feed(Buffer.from("MSG a 1 3\r\nx"));
  assert.equal(parser.inMessage, true);
});

for (const [what, text] of [
  ["a size that is no number", "MSG a 1 x\r\n"],
  ["more headers than message", "HMSG a 1 13 12\r\n"],
  ["no subject", "MSG  1 1\r\n"],
  ["a line that ends in a bare LF", "MSG a 1 1\nx\r\n"],
  ["two blanks", "MSG a  1 1\r\n"],
] as const) {
  test(`ServerParser is of no more use after ${what}`, () => {
    const { parser, faults, messages } = hear();
    parser.feed(Buffer.from(`${text}MSG a 1 1\r\nx\r\n`));
    assert.equal(faults.length, 1);
    assert.deepEqual(messages, []);
  });
}
