import assert from "node:assert/strict";
import { test } from "node:test";
import { CLAIMS_BYTES_MAX, parseClaims } from "./claims.ts";
import { payloadDigest } from "./digests.ts";

const DIGEST = payloadDigest(Buffer.of());
const CLAIMS = {
  iss: "https://a.example",
  aud: "example.com",
  iat: 1_795_000_000,
  exp: 1_795_000_060,
  txn: "01a1e0a2-5b80-7000-8f00-000000000000",
  sub: "entra-alice",
  req_wl: "countersign/one",
  scope: "publish:a",
  tctx: { msg: { s: "a", d: DIGEST, id: "id-1", h: DIGEST } },
  rctx: { rid: "r-1" },
};

function parse(members: object): unknown {
  return parseClaims(Buffer.from(JSON.stringify({ ...CLAIMS, ...members })));
}

test("parseClaims() gives back claims that are well-formed", () => {
  assert.deepEqual(parse({}), CLAIMS);
});

for (const [member, value] of [
  ["iss", ""],
  ["aud", "a".repeat(513)],
  ["aud", "\ud800"],
  ["iat", 1.5],
  ["iat", -1],
  ["iat", "1795000000"],
  ["exp", CLAIMS.iat],
  ["txn", "1"],
  ["sub", "alice"],
  ["sub", "entra-=61lice"],
  ["act", { sub: "alice" }],
  ["act", "entra-alice"],
  ["req_wl", undefined],
  ["scope", "publish"],
  ["scope", "publish:a publish:b"],
  ["scope", "Publish:a"],
  ["tctx", {}],
  ["tctx", { msg: [] }],
  ["tctx", { msg: { ...CLAIMS.tctx.msg, d: DIGEST.slice(1) } }],
  ["tctx", { msg: { ...CLAIMS.tctx.msg, h: `${DIGEST.slice(1)}=` } }],
  ["tctx", { msg: { ...CLAIMS.tctx.msg, id: "a b" } }],
  ["tctx", { msg: { ...CLAIMS.tctx.msg, s: "a..b" } }],
  ["rctx", undefined],
  ["rctx", { rid: "a b" }],
  ["rctx", { rid: "r", sid: "s" }],
  ["rctx", { rid: "r", acr: 1 }],
  ["rctx", { rid: "r", name: "" }],
] as const) {
  test(`parseClaims() refuses ${member} ${JSON.stringify(value)?.slice(0, 60)}`, () => {
    assert.throws(() => parse({ [member]: value }), { code: "claims_invalid" });
  });
}

test("parseClaims() refuses claims over 4,096 bytes, and what is no object", () => {
  assert.throws(() => parse({ more: "a".repeat(CLAIMS_BYTES_MAX) }), { code: "encoding_invalid" });
  for (const text of ["[]", "null", '"a"', "1"]) {
    assert.throws(() => parseClaims(Buffer.from(text)), { code: "claims_invalid" });
  }
});
