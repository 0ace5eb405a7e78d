import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { checkSigned, openSignedIdentity, type SignedIdentity } from "./signed-identity.ts";

const key = Buffer.alloc(32, 7);
const SID = "S-1-5-21-1-2-3-1103";
const GOOD = [
  "1790000100123",
  "0".repeat(32),
  "POST",
  "Negotiate",
  SID,
  "CORP\\alice",
  "",
  "all",
  "S-1-5-32-545\tBUILTIN\\Users",
];

function seal(payload: string | Buffer, with_: Buffer = key, version = "v1"): string {
  const text = `${version}.${Buffer.from(payload).toString("base64url")}`;
  return `${text}.${createHmac("sha256", with_).update(text).digest("base64url")}`;
}

/** The good lines with one in another's place. */
function lines(at: number, line: string, ...more: readonly string[]): string {
  return [...GOOD.with(at, line), ...more].join("\n");
}

function whyOf(header: string, keys: readonly Buffer[] = [key]): string | undefined {
  const outcome = openSignedIdentity(header, keys);
  return outcome.ok
    ? undefined
    : outcome.refusal.reason === "proof_invalid"
      ? outcome.refusal.why
      : outcome.refusal.reason;
}

const UNWRITTEN = "an identity from IIS that its module does not write";
const SIGNATURE = "the signature of IIS";

test("openSignedIdentity() opens what either of two keys signed, while one replaces the other", () => {
  const header = seal(GOOD.join("\n"));
  assert.equal(whyOf(header, [Buffer.alloc(32, 1), key]), undefined);
  assert.equal(whyOf(header, [key, Buffer.alloc(32, 1)]), undefined);
  assert.equal(whyOf(header, [Buffer.alloc(32, 1)]), SIGNATURE);
  assert.equal(whyOf(header, []), SIGNATURE);
});

test("openSignedIdentity() refuses a header that was changed in any one character, or cut", () => {
  const header = seal(GOOD.join("\n"));
  for (let at = 0; at < header.length; at++) {
    const other = header[at] === "A" ? "B" : "A";
    assert.notEqual(whyOf(header.slice(0, at) + other + header.slice(at + 1)), undefined, String(at));
  }
  for (const cut of [
    header.slice(0, -4),
    header.slice(3),
    "",
    ".",
    "v1..",
    `${header}.x`,
    `${header}A`.repeat(200),
  ]) {
    assert.notEqual(whyOf(cut), undefined);
  }
  assert.equal(whyOf(seal(GOOD.join("\n"), key, "v2")), "an identity from IIS of another version");
});

test("openSignedIdentity() refuses whatever the module does not write, though it is signed", () => {
  for (const payload of [
    lines(0, "1790000100"),
    lines(0, "17900001001e3"),
    lines(1, "0".repeat(31)),
    lines(1, "F".repeat(32)),
    lines(2, "post"),
    lines(2, ""),
    lines(3, ""),
    lines(4, "S-1-5"),
    lines(4, "alice"),
    lines(5, ""),
    lines(5, "CORP\\\u202eecila"),
    lines(6, "ab"),
    lines(7, "some"),
    lines(7, "none"),
    lines(7, "left-out"),
    lines(8, "BUILTIN\\Users"),
    lines(8, "S-1-5-32-545\ta\tb"),
    lines(8, "S-1-5-32-545", ...Array.from({ length: 256 }, () => "S-1-5-32-545")),
    GOOD.slice(0, 7).join("\n"),
    // Nobody, with groups.
    GOOD.with(3, "").with(4, "").with(5, "").join("\n"),
    Buffer.concat([
      Buffer.from(GOOD.slice(0, 5).join("\n")),
      Buffer.from([0x0a, 0xff]),
      Buffer.from("\n\nnone"),
    ]),
  ]) {
    assert.equal(whyOf(seal(payload)), UNWRITTEN, String(payload));
  }
});

test("openSignedIdentity() never throws, and opens nothing that was not signed", () => {
  fc.assert(
    fc.property(
      fc.oneof(fc.string({ maxLength: 200 }), fc.string({ unit: "binary", maxLength: 80 })),
      (text) => {
        assert.equal(openSignedIdentity(text, [key]).ok, false);
        assert.equal(openSignedIdentity(`v1.${text}`, [key]).ok, false);
      },
    ),
  );
});

const signed: SignedIdentity = { signedAt: 1_000, nonce: "0".repeat(32), method: "POST" };

test("checkSigned() takes a minute either way, and no other method", () => {
  for (const now of [940, 1_000, 1_060]) {
    assert.deepEqual(checkSigned(signed, { method: "POST", now }), { ok: true, value: signed });
  }
  assert.deepEqual(checkSigned(signed, { method: "POST", now: 1_060.1 }), {
    ok: false,
    refusal: { reason: "proof_expired", expiredAt: 1_060, now: 1_060.1 },
  });
  assert.deepEqual(checkSigned(signed, { method: "POST", now: 939.9 }), {
    ok: false,
    refusal: { reason: "proof_not_yet_valid", validFrom: 1_000, now: 939.9 },
  });
  assert.deepEqual(checkSigned(signed, { method: "DELETE", now: 1_000 }), {
    ok: false,
    refusal: { reason: "proof_invalid", why: "an identity from IIS for another method" },
  });
});
