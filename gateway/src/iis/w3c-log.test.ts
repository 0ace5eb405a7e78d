import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type LogLine, type LogReport, W3cLogReader } from "./w3c-log.ts";

interface Read {
  readonly lines: readonly LogLine[];
  readonly report: LogReport;
}

/** Hands a log over in pieces of so many bytes. */
function read(
  text: string | Buffer,
  { file = "u_ex261126.log", needles = [] as readonly string[], piece = Number.POSITIVE_INFINITY } = {},
): Read {
  const bytes = typeof text === "string" ? Buffer.from(text) : text;
  const lines: LogLine[] = [];
  const reader = new W3cLogReader({
    file,
    needles: needles.map((needle) => Buffer.from(needle)),
    onLine: (line) => lines.push(line),
  });
  for (let at = 0; at < bytes.length; at += piece) reader.read(bytes.subarray(at, at + piece));
  return { lines, report: reader.end() };
}

function fieldsOf({ lines }: Read, ...names: string[]): (string | undefined)[][] {
  return lines.map(({ field }) => names.map((name) => field(name)));
}

const HEAD = `#Software: Microsoft Internet Information Services 10.0
#Version: 1.0
#Date: 2026-11-26 08:00:00
#Fields: date time cs-method cs-uri-stem cs-uri-query cs-username c-ip sc-status X-Request-Id
`;

test("W3cLogReader gives the columns by their names, and nothing for a dash", () => {
  const found = read(`${HEAD}2026-11-26 08:00:01 POST /bus/v1/publish subject=a.b CORP\\ann ::1%12 202 0f3c\r
2026-11-26 08:00:02 GET /favicon.ico - - 10.0.0.7 404 -\r
`);
  assert.deepEqual(
    fieldsOf(found, "cs-method", "cs-username", "c-ip", "sc-status", "x-request-id", "no-such"),
    [
      ["POST", "CORP\\ann", "::1%12", "202", "0f3c", undefined],
      ["GET", undefined, "10.0.0.7", "404", undefined, undefined],
    ],
  );
  assert.deepEqual(
    found.lines.map(({ number, atMs, kind }) => [number, new Date(atMs ?? 0).toISOString(), kind]),
    [
      [5, "2026-11-26T08:00:01.000Z", "iis"],
      [6, "2026-11-26T08:00:02.000Z", "iis"],
    ],
  );
  assert.deepEqual([found.report.lines, found.report.malformed, found.report.unfinished], [6, 0, false]);
});

test("W3cLogReader binds its columns anew at every #Fields, whatever stands around it", () => {
  const found = read(`${HEAD}2026-11-26 08:00:01 GET /a - - ::1 200 one
#Fields: time date sc-status cs-uri-stem \r
#Date: 2026-11-26 09:00:00
09:00:01 2026-11-26 404 /b
`);
  assert.deepEqual(fieldsOf(found, "cs-uri-stem", "sc-status", "x-request-id"), [
    ["/a", "200", "one"],
    ["/b", "404", undefined],
  ]);
});

test("W3cLogReader counts lines that do not fit, says how, and guesses at none", () => {
  const found = read(`2026-11-26 07:59:59 GET /before
${HEAD}2026-11-26 08:00:01 GET /a - - ::1 200
2026-11-26 08:00:02 GET /b c - - ::1 200 two

2026-11-26 08:00:03 GET /d - - ::1 200 three
${"\0".repeat(40)}
2026-11-26 08:00:04 GET ${"x".repeat(200_000)} - - ::1 200 four
2026-11-26 08:00:05 GET /e - - ::1 200 five
`);
  assert.deepEqual(fieldsOf(found, "x-request-id"), [["three"], ["five"]]);
  const { malformed, examples } = found.report;
  assert.equal(malformed, 5);
  assert.deepEqual(examples, [
    { number: 1, why: "stands before any #Fields" },
    { number: 6, why: "has 8 columns where #Fields names 9" },
    { number: 7, why: "has 10 columns where #Fields names 9" },
    { number: 10, why: "has 0 columns where #Fields names 9" },
    { number: 11, why: "is longer than any line of IIS's, 131072 bytes" },
  ]);
});

test("W3cLogReader takes several blanks for one, as lines with an empty column have them", () => {
  const found = read(`${HEAD}2026-11-26 08:00:01 GET /a -  CORP\\EX04$ ::1 200 one \n`);
  assert.deepEqual(fieldsOf(found, "cs-username", "x-request-id"), [["CORP\\EX04$", "one"]]);
});

test("W3cLogReader takes the day from #Date where lines have none, past midnight too", () => {
  const found = read(`#Date: 2026-11-26 23:59:50
#Fields: time cs-uri-stem
23:59:58 /a
23:59:57 /late
00:00:01 /b
00:00:02 /c
`);
  assert.deepEqual(
    found.lines.map(({ atMs }) => new Date(atMs ?? 0).toISOString().slice(8, 19)),
    ["26T23:59:58", "26T23:59:57", "27T00:00:01", "27T00:00:02"],
  );
});

test("W3cLogReader reads the error log of HTTP.sys, also a part of one without its head", () => {
  const line = "2026-11-26 05:05:55 10.0.0.9 12345 10.0.0.1 443 HTTP/1.1 GET /..%5c 400 - URL -\n";
  const found = read(line, { file: "C:\\logs\\HTTPERR\\httperr12.log" });
  assert.equal(found.lines[0]?.kind, "httperr");
  assert.deepEqual(fieldsOf(found, "s-reason", "cs-uri", "c-ip"), [["URL", "/..%5c", "10.0.0.9"]]);
  assert.deepEqual(read(line).report.malformed, 1);
});

test("W3cLogReader reads UTF-8 as such, other bytes one by one, and no mark at the beginning", () => {
  const latin1 = Buffer.from("\xef\xbb\xbf#Fields: time cs-username\n08:00:00 J\xe9r\xf4me\n", "latin1");
  const utf8 = Buffer.from("#Fields: time cs-username\n08:00:00 CORP\\日本\n");
  assert.deepEqual(fieldsOf(read(latin1), "cs-username"), [["Jérôme"]]);
  assert.deepEqual(fieldsOf(read(utf8), "cs-username"), [["CORP\\日本"]]);
});

test("W3cLogReader does not call the line malformed that is still being written", () => {
  const cut = read(`${HEAD}2026-11-26 08:00:01 GET /a - - ::1 200 one\n2026-11-26 08:0`);
  assert.deepEqual([cut.lines.length, cut.report.unfinished, cut.report.malformed], [1, true, 0]);
  const whole = read(`${HEAD}2026-11-26 08:00:01 GET /a - - ::1 200 one`);
  assert.deepEqual(fieldsOf(whole, "x-request-id"), [["one"]]);
});

test("W3cLogReader hands over the lines that hold a needle, and reports on all", () => {
  const found = read(
    `${HEAD}2026-11-26 08:00:01 GET /a - - ::1 200 one\n2026-11-26 08:00:02 GET /b - - ::1 200 two\nbroken\n`,
    { needles: ["two", "nine"] },
  );
  assert.deepEqual(fieldsOf(found, "cs-uri-stem"), [["/b"]]);
  assert.deepEqual(
    [found.report.lines, found.report.malformed, found.report.fromMs, found.report.toMs],
    [7, 1, Date.parse("2026-11-26T08:00:01Z"), Date.parse("2026-11-26T08:00:02Z")],
  );
});

test("W3cLogReader reads the same in pieces of any size", () => {
  const text = `${HEAD}2026-11-26 08:00:01 GET /a - - ::1 200 one\r\n\r\nbad line\n2026-11-26 08:00:02 GET /é - - ::1 200 two`;
  const whole = read(text);
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 200 }), fc.boolean(), (piece, all) => {
      const needles = all ? [] : ["one", "two"];
      const found = read(text, { piece, needles });
      assert.deepEqual(
        fieldsOf(found, "cs-uri-stem", "x-request-id"),
        fieldsOf(whole, "cs-uri-stem", "x-request-id"),
      );
      assert.deepEqual(found.report, whole.report);
    }),
  );
});

test("W3cLogReader survives any bytes", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.integer({ min: 1, max: 50 }), (bytes, piece) => {
      const { report } = read(Buffer.concat([Buffer.from(HEAD), Buffer.from(bytes)]), { piece });
      assert(report.malformed <= report.lines);
    }),
  );
});
