import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Vouched } from "../hop/hop.ts";
import type { Outcome } from "../refusal.ts";
import { clearCookie, cookieNameOf, loginCookieNameOf, readCookie, setCookie } from "./cookie.ts";
import type { Presented } from "./identity.ts";
import { parsePresented } from "./present.ts";

const cookieName = "__Host-Http-countersign-bus";
const id = Buffer.alloc(32, 7).toString("base64url");

function parse(...rawHeaders: string[]): Outcome<Presented> {
  return parsePresented({ method: "POST", rawHeaders, cookieName });
}

function malformed(why: string): Outcome<never> {
  return { ok: false, refusal: { reason: "proof_malformed", why } };
}

function invalid(why: string): Outcome<never> {
  return { ok: false, refusal: { reason: "proof_invalid", why } };
}

const nothing: Presented = {
  proofs: [],
  method: "POST",
  origin: null,
  fetchSite: null,
  navigation: false,
  deliberate: false,
};

test("parsePresented() takes what a proven hop says for proofs, and who is signed in as nobody for none", () => {
  const account = { authenticationType: "NTLM", sid: "S-1-5-21-1", name: "CORP\\a", groups: [] };
  const signed = { signedAt: 1, nonce: "0", method: "POST", account };
  const { account: _, ...anonymous } = signed;
  const der = Buffer.from("der");
  const proofsOf = (vouched: Vouched) => {
    const outcome = parsePresented({ method: "POST", rawHeaders: [], cookieName, vouched });
    return outcome.ok && outcome.value.proofs;
  };
  assert.deepEqual(proofsOf({ signed }), [{ kind: "windows", signed }]);
  assert.deepEqual(proofsOf({ signed: anonymous }), []);
  assert.deepEqual(proofsOf({ signed: anonymous, certificate: der }), [
    { kind: "certificate", der, signed: anonymous },
  ]);
  assert.deepEqual(proofsOf({ easyAuth: "abc" }), [{ kind: "easy-auth", principal: "abc" }]);
});

test("parsePresented() finds nothing where nothing is presented", () => {
  assert.deepEqual(parse("Host", "x", "Accept", "*/*"), { ok: true, value: nothing });
});

test("parsePresented() reads every header that bears on the caller, in any case of letters", () => {
  const outcome = parse(
    ...["ORIGIN", "https://apps.example.com", "sec-fetch-SITE", "same-origin"],
    ...["Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "countersign-Request", "1"],
    ...["Cookie", `a=b; ${cookieName}=${id}; c=d`, "aUTHORIZATION", "bEARER  abc.def.ghi "],
  );
  assert.deepEqual(outcome, {
    ok: true,
    value: {
      proofs: [
        { kind: "session", id },
        { kind: "bearer", token: "abc.def.ghi" },
      ],
      method: "POST",
      origin: "https://apps.example.com",
      fetchSite: "same-origin",
      navigation: true,
      deliberate: true,
    },
  });
});

test("parsePresented() refuses any header that may stand once and stands twice", () => {
  for (const name of [
    "authorization",
    "origin",
    "sec-fetch-site",
    "sec-fetch-mode",
    "sec-fetch-dest",
    "countersign-request",
  ]) {
    const value = name === "authorization" ? "Bearer a" : "1";
    assert.deepEqual(
      parse(name, value, name.toUpperCase(), value),
      malformed(`more than one ${name} header`),
    );
  }
});

test("parsePresented() refuses a header name with an underscore, whatever it is", () => {
  for (const name of ["X_User", "Countersign_Identity", "x-a_b", "_"]) {
    assert.deepEqual(parse(name, "ann"), malformed("a header name with an underscore"));
  }
});

test("parsePresented() refuses headers that only the gateway or its edge sets, in any case", () => {
  for (const name of [
    "Txn-Token",
    "TXN-TOKEN",
    "Seal-Claims",
    "sEAL-root",
    "seal-",
    "Countersign-Identity",
  ]) {
    assert.deepEqual(parse(name, "x"), malformed("a header that only the gateway or its edge may set"), name);
  }
  // Names of the same lengths and beginnings that are nobody's.
  assert.equal(parse("Seals-x", "x", "Txn-Tokes", "x", "Countersign-Idontity", "x").ok, true);
});

test("parsePresented() refuses a seal header of every length, those of known names included", () => {
  for (const length of [5, 6, 9, 13, 14, 19, 20, 30]) {
    assert.equal(parse("Seal-".padEnd(length, "x"), "x").ok, false, String(length));
  }
});

test("parsePresented() takes another scheme than Bearer for no proof, and Bearer without a token for a wrong one", () => {
  const none = { ok: false, refusal: { reason: "proof_missing", why: "another scheme than Bearer" } };
  for (const value of ["Basic YTpi", "", "Negotiate abc", "BearerX abc", "DPoP abc"]) {
    assert.deepEqual(parse("Authorization", value), none, value);
  }
  for (const value of ["Bearer", "bearer  ", "BEARER "]) {
    assert.deepEqual(parse("Authorization", value), invalid("a Bearer without a token"), value);
  }
});

test("parsePresented() bounds a token, by default to 8 KB", () => {
  const rawHeaders = ["Authorization", `Bearer ${"a".repeat(8_193)}`];
  assert.deepEqual(parse(...rawHeaders), invalid("a token over the size limit"));
  assert.equal(parse("Authorization", `Bearer ${"a".repeat(8_192)}`).ok, true);
  assert.equal(parsePresented({ method: "GET", rawHeaders, cookieName, tokenBytesMax: 16_384 }).ok, true);
});

test("parsePresented() refuses our cookie twice, in one header or two, even with one value", () => {
  const cookie = `${cookieName}=${id}`;
  assert.deepEqual(parse("Cookie", `${cookie}; ${cookie}`), malformed("more than one session cookie"));
  assert.deepEqual(parse("Cookie", cookie, "cookie", cookie), malformed("more than one session cookie"));
});

test("parsePresented() refuses a twin of our cookie's name in another case", () => {
  const twin = malformed("a twin of the session cookie's name");
  assert.deepEqual(parse("Cookie", `__HOST-Http-countersign-bus=${id}`), twin);
  assert.deepEqual(parse("Cookie", `${cookieName}=${id}; ${cookieName.toLowerCase()}=${id}`), twin);
});

test("parsePresented() passes over cookies of others, longer and shorter names of ours included", () => {
  const others = `${cookieName}x=1; __Host-Http-countersign=2; countersign-bus=3; flag; =; ${cookieName}~login=4`;
  assert.deepEqual(parse("Cookie", others), { ok: true, value: nothing });
});

test("parsePresented() refuses a cookie value that cannot be a session id", () => {
  const why = invalid("a session cookie that is not a session id");
  // One too short, one too long, trailing bits set, quoted, another alphabet.
  for (const value of ["", id.slice(1), `${id}A`, `${id.slice(0, 42)}B`, `"${id}"`, `${id.slice(0, 41)}+A`]) {
    assert.deepEqual(parse("Cookie", `${cookieName}=${value}`), why, value);
  }
});

test("parsePresented() refuses more headers than any client sends", () => {
  const rawHeaders = Array.from({ length: 129 }, (_, n) => [`x-${n}`, "1"]).flat();
  assert.deepEqual(parse(...rawHeaders), malformed("more than 128 headers"));
});

test("parsePresented() takes a navigation only from mode and destination together", () => {
  for (const pair of [
    ["Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"],
    ["Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "document"],
    ["Sec-Fetch-Mode", "navigate"],
  ]) {
    assert.deepEqual(parse(...pair), { ok: true, value: nothing });
  }
});

test("parsePresented() takes a request as deliberate only by the exact value", () => {
  for (const value of ["", "0", "1 ", "true"]) {
    assert.deepEqual(parse("Countersign-Request", value), { ok: true, value: nothing });
  }
});

test("cookieNameOf() carries the base path, and no two paths meet in one name", () => {
  assert.equal(cookieNameOf("https://apps.example.com"), "__Host-Http-countersign");
  assert.equal(cookieNameOf("https://apps.example.com/bus/"), "__Host-Http-countersign-bus");
  const names = ["/a/b", "/a.b", "/a-b", "/a%2Fb", "/a~b", "/ä", "/login", "/a", "/a/login", "/A"].map(
    (path) => cookieNameOf(`https://h.example${path}`),
  );
  assert.equal(new Set(names).size, names.length);
  for (const name of names) assert.match(name, /^__Host-Http-countersign-[A-Za-z0-9_.%-]+$/);
});

test("loginCookieNameOf() meets the session cookie of no path", () => {
  assert.equal(loginCookieNameOf("https://h.example/bus"), "__Host-Http-countersign-bus~login");
  assert.equal(cookieNameOf("https://h.example/bus~login"), "__Host-Http-countersign-bus%7Elogin");
});

test("setCookie() and clearCookie() write what the __Host-Http- prefix demands", () => {
  const attributes = "Secure; HttpOnly; SameSite=Lax";
  assert.equal(setCookie("n", "v"), `n=v; Path=/; ${attributes}`);
  assert.equal(setCookie("n", "v", 600.9), `n=v; Path=/; Max-Age=600; ${attributes}`);
  assert.equal(clearCookie("n"), `n=; Path=/; Max-Age=0; ${attributes}`);
});

test("readCookie() finds a cookie by its exact name, and none that is there twice", () => {
  const headers = ["Host", "h", "cookie", "a=1; b=x=y;c", "COOKIE", " d = 4 ; A=5"];
  assert.equal(readCookie(headers, "a"), "1");
  assert.equal(readCookie(headers, "b"), "x=y");
  assert.equal(readCookie(headers, "d"), "4");
  assert.equal(readCookie(headers, "c"), undefined);
  assert.equal(readCookie(headers, ""), undefined);
  assert.equal(readCookie([...headers, "Cookie", "a=1"], "a"), undefined);
});

test("parsePresented() never throws, and what it takes for a proof stood in the headers", () => {
  const name = fc.oneof(
    fc.constantFrom("Cookie", "authorization", "Origin", "sec-fetch-site", "Seal-Claims", "x_y", "X-Other"),
    fc.string({ maxLength: 20, unit: "binary" }),
  );
  const value = fc.oneof(
    fc.constantFrom(
      `${cookieName}=${id}`,
      `${cookieName}=`,
      "Bearer a.b.c",
      "Bearer",
      `a=b; ${cookieName}=${id};`,
    ),
    fc.string({ maxLength: 60, unit: "binary" }),
  );
  fc.assert(
    fc.property(fc.array(fc.tuple(name, value), { maxLength: 8 }), (headers) => {
      const outcome = parse(...headers.flat());
      if (!outcome.ok) return assert.match(outcome.refusal.reason, /^proof_(?:malformed|invalid|missing)$/);
      for (const proof of outcome.value.proofs) {
        if (proof.kind !== "bearer" && proof.kind !== "session") assert.fail(proof.kind);
        const shown = proof.kind === "bearer" ? proof.token : `${cookieName}=${proof.id}`;
        assert.ok(headers.some(([, text]) => text.includes(shown)));
      }
    }),
  );
});
