import assert from "node:assert/strict";
import { hash } from "node:crypto";
import { describe, test } from "node:test";
import { allowed, type Refusal, refused } from "../refusal.ts";
import { claimOf } from "./headers.ts";
import type { JudgeHop } from "./hop.ts";
import { judgeAncm, judgeArr, judgeDirect, judgeProxy, type OpenSigned } from "./judge.ts";
import type { SignedIdentity } from "./signed-identity.ts";
import { arrived } from "./testing/arrived.ts";

const TOKEN = "b6c1f6f0-7d27-4c55-8d92-0a6c3f4b8a11";
const SECRET = "a-secret-of-the-rewrite-rule-0123456789";
const DER = Buffer.from("a certificate");

const signed: SignedIdentity = {
  signedAt: 1_000,
  nonce: "0".repeat(32),
  method: "POST",
  certificateHash: hash("sha256", DER, "hex"),
};
const openSigned: OpenSigned = (header) =>
  header === "good" ? allowed(signed) : refused({ reason: "proof_invalid", why: "the signature of IIS" });

const ancm = judgeAncm({ token: () => TOKEN, openSigned, takesCertificates: true });
const arr = judgeArr({
  secrets: () => [SECRET, `${SECRET}-next`],
  mutualTls: false,
  openSigned,
  takesCertificates: true,
  signatureNeeded: false,
});

const MADE_UP: Refusal = {
  reason: "proof_malformed",
  why: "a header that only the gateway or its edge may set",
};
const UNPAIRED: Refusal = { reason: "hop_unproven", proof: "the pairing token of IIS" };
const NO_SECRET: Refusal = { reason: "hop_unproven", proof: "the secret of its rewrite rule" };

function refusalOf(judge: JudgeHop, ...headers: readonly string[]): Refusal | undefined {
  const outcome = judge(arrived(headers));
  return outcome.ok ? undefined : outcome.refusal;
}

test("claimOf() knows every header by which a hop speaks, in any case and with underscores", () => {
  for (const name of [
    "Countersign-Identity",
    "COUNTERSIGN_IDENTITY",
    "Countersign-Proof",
    "MS-ASPNETCORE-TOKEN",
    "ms-aspnetcore-anything",
    "X-ARR-ClientCert",
    "X-MS-CLIENT-PRINCIPAL",
    "X-MS-CLIENT-PRINCIPAL-NAME",
    "x_ms_token_aad_id_token",
    "X-IIS-WindowsAuthToken",
  ]) {
    assert.equal(claimOf(name), name.toLowerCase().replaceAll("_", "-"), name);
  }
  for (const name of [
    "",
    "Cookie",
    "Countersign-Request",
    "X-Forwarded-For",
    "X-ARR-LOG-ID",
    "Msg-x",
    "Host",
  ]) {
    assert.equal(claimOf(name), undefined, name);
  }
});

describe("judgeDirect()", () => {
  const direct = judgeDirect({ easyAuth: false });

  test("takes no word of anybody, forwarded addresses included", () => {
    assert.deepEqual(direct(arrived(["X-Forwarded-For", "192.0.2.7", "X-Forwarded-Proto", "https"])), {
      ok: true,
      value: { forwards: false, vouched: {} },
    });
  });

  test("refuses every header that only an edge may set", () => {
    for (const name of [
      "Countersign-Identity",
      "Countersign-Proof",
      "MS-ASPNETCORE-TOKEN",
      "X-ARR-ClientCert",
    ]) {
      assert.deepEqual(refusalOf(direct, name, "x"), MADE_UP, name);
    }
    for (const name of ["X-MS-CLIENT-PRINCIPAL", "X-MS-TOKEN-AAD-ID-TOKEN", "X-IIS-WindowsAuthToken"]) {
      assert.deepEqual(refusalOf(direct, name, "x"), MADE_UP, name);
    }
  });

  test("takes the principal of App Service only inside it, and never another edge's", () => {
    const inside = judgeDirect({ easyAuth: true });
    assert.deepEqual(inside(arrived(["X-MS-CLIENT-PRINCIPAL", "abc", "X-MS-CLIENT-PRINCIPAL-ID", "7"])), {
      ok: true,
      value: { forwards: false, vouched: { easyAuth: "abc" } },
    });
    assert.deepEqual(refusalOf(inside, "Countersign-Identity", "good"), MADE_UP);
  });
});

describe("judgeAncm()", () => {
  test("takes a request with the pairing token, and its last forwarded address and scheme only", () => {
    const request = arrived([
      ...["Host", "h", "MS-ASPNETCORE-TOKEN", TOKEN, "X-Forwarded-For", "203.0.113.9, [2001:db8::7]:51234"],
      ...["X-Forwarded-Proto", "http, https"],
    ]);
    assert.deepEqual(ancm(request), {
      ok: true,
      value: { forwards: true, caller: "2001:db8::7", scheme: "https", vouched: {} },
    });
  });

  test("takes the token and all else that the hop says out of the request", () => {
    const request = arrived([
      ...["MS-ASPNETCORE-TOKEN", TOKEN, "Host", "h", "Countersign-Identity", "good"],
      ...[
        "MS-ASPNETCORE-CLIENTCERT",
        DER.toString("base64"),
        "Accept",
        "*/*",
        "MS-ASPNETCORE-EVENT",
        "shutdown ",
      ],
    ]);
    assert.deepEqual(ancm(request), {
      ok: true,
      value: { forwards: true, event: "shutdown", vouched: { signed, certificate: DER } },
    });
    assert.deepEqual(request.rawHeaders, ["Host", "h", "Accept", "*/*"]);
    assert.deepEqual(request.headers, { host: "h", accept: "*/*" });
  });

  test("refuses what has no token, or not quite it, before anything else; and takes it out all the same", () => {
    for (const token of [undefined, "", TOKEN.toUpperCase(), TOKEN.slice(1), `${TOKEN} `]) {
      const headers = token === undefined ? [] : ["MS-ASPNETCORE-TOKEN", token];
      const request = arrived([...headers, "Countersign_Identity", "good", "X-MS-CLIENT-PRINCIPAL", "x"]);
      assert.deepEqual(ancm(request), { ok: false, refusal: UNPAIRED }, token);
      assert.deepEqual(request.rawHeaders, []);
    }
  });

  test("refuses a second header of one name, an underscore in one, and one that the module does not set", () => {
    const paired = ["MS-ASPNETCORE-TOKEN", TOKEN];
    assert.deepEqual(refusalOf(ancm, ...paired, ...paired), {
      reason: "proof_malformed",
      why: "more than one ms-aspnetcore-token header",
    });
    assert.deepEqual(
      refusalOf(ancm, ...paired, "Countersign-Identity", "good", "countersign-identity", "good"),
      {
        reason: "proof_malformed",
        why: "more than one countersign-identity header",
      },
    );
    assert.deepEqual(refusalOf(ancm, ...paired, "Countersign_Identity", "good"), {
      reason: "proof_malformed",
      why: "a header name with an underscore",
    });
    for (const name of [
      "MS-ASPNETCORE-USER",
      "X-ARR-ClientCert",
      "Countersign-Proof",
      "X-MS-CLIENT-PRINCIPAL",
    ]) {
      assert.deepEqual(refusalOf(ancm, ...paired, name, "x"), MADE_UP, name);
    }
  });

  test("refuses requests that bring a token handle which nobody closes", () => {
    const refusal = refusalOf(ancm, "MS-ASPNETCORE-TOKEN", TOKEN, "MS-ASPNETCORE-WINAUTHTOKEN", "2fc");
    assert.equal(refusal?.reason, "hop_unfit");
    assert.match(refusal?.reason === "hop_unfit" ? refusal.why : "", /forwardWindowsAuthToken="false"/);
  });

  test("refuses an identity whose signature does not hold, on whatever path, and any when no issuer has its key", () => {
    const paired = ["MS-ASPNETCORE-TOKEN", TOKEN];
    assert.deepEqual(refusalOf(ancm, ...paired, "Countersign-Identity", "forged"), {
      reason: "proof_invalid",
      why: "the signature of IIS",
    });
    const without = judgeAncm({ token: () => TOKEN, takesCertificates: false });
    assert.deepEqual(refusalOf(without, ...paired, "Countersign-Identity", "good"), MADE_UP);
  });

  test("takes out the Authorization that IIS has spent, when it signs users in, and leaves every other", () => {
    const paired = ["MS-ASPNETCORE-TOKEN", TOKEN];
    for (const scheme of ["Negotiate YIIF", "NTLM TlRM", "negotiate", "Basic YTpi", "Kerberos x"]) {
      const request = arrived([...paired, "Authorization", scheme, "Host", "h"]);
      assert.equal(ancm(request).ok, true);
      assert.deepEqual([request.rawHeaders, request.headers], [["Host", "h"], { host: "h" }], scheme);
    }
    for (const scheme of ["Bearer abc", "NegotiateX abc", "DPoP abc"]) {
      const request = arrived([...paired, "Authorization", scheme]);
      assert.equal(ancm(request).ok, true);
      assert.deepEqual(request.rawHeaders, ["Authorization", scheme]);
    }
    const without = judgeAncm({ token: () => TOKEN, takesCertificates: false });
    const request = arrived([...paired, "Authorization", "Negotiate YIIF"]);
    assert.equal(without(request).ok, true);
    assert.deepEqual(request.rawHeaders, ["Authorization", "Negotiate YIIF"]);
  });

  test("passes over a certificate when no issuer knows whose it is", () => {
    const without = judgeAncm({ token: () => TOKEN, takesCertificates: false });
    const request = arrived([
      "MS-ASPNETCORE-TOKEN",
      TOKEN,
      "MS-ASPNETCORE-CLIENTCERT",
      DER.toString("base64"),
    ]);
    assert.deepEqual(without(request), { ok: true, value: { forwards: true, vouched: {} } });
  });
});

describe("judgeArr()", () => {
  const proved = ["Countersign-Proof", SECRET];

  test("takes either of two secrets, while one replaces the other, and takes it out of the request", () => {
    for (const secret of [SECRET, `${SECRET}-next`]) {
      const request = arrived(["Countersign-Proof", secret, "X-Forwarded-For", "192.0.2.7:4711"]);
      assert.deepEqual(arr(request), {
        ok: true,
        value: { forwards: true, caller: "192.0.2.7", vouched: {} },
      });
      assert.deepEqual(request.rawHeaders, ["X-Forwarded-For", "192.0.2.7:4711"]);
    }
  });

  test("refuses what has no secret or another, two of them, and headers of the other kinds of host", () => {
    assert.deepEqual(refusalOf(arr), NO_SECRET);
    assert.deepEqual(refusalOf(arr, "Countersign-Proof", `${SECRET}x`), NO_SECRET);
    assert.equal(refusalOf(arr, ...proved, ...proved)?.reason, "proof_malformed");
    for (const name of ["MS-ASPNETCORE-TOKEN", "X-MS-CLIENT-PRINCIPAL", "X-IIS-WindowsAuthToken"]) {
      assert.deepEqual(refusalOf(arr, ...proved, name, "x"), MADE_UP, name);
    }
  });

  test("takes a client certificate only if the module signed its hash: ARR may pass on a visitor's own header", () => {
    const certificate = ["X-ARR-ClientCert", DER.toString("base64")];
    assert.deepEqual(arr(arrived([...proved, ...certificate, "Countersign-Identity", "good"])), {
      ok: true,
      value: { forwards: true, vouched: { signed, certificate: DER } },
    });
    const unconfirmed: Refusal = {
      reason: "proof_invalid",
      why: "a client certificate that the module of IIS does not confirm",
    };
    assert.deepEqual(refusalOf(arr, ...proved, ...certificate), unconfirmed);
    const other = [
      "X-ARR-ClientCert",
      Buffer.from("another").toString("base64"),
      "Countersign-Identity",
      "good",
    ];
    assert.deepEqual(refusalOf(arr, ...proved, ...other), unconfirmed);
  });

  test("takes nothing that is not signed where the signature is the only proof", () => {
    const bySignature = judgeArr({
      mutualTls: false,
      openSigned,
      takesCertificates: false,
      signatureNeeded: true,
    });
    assert.deepEqual(refusalOf(bySignature), {
      reason: "hop_unproven",
      proof: "the signature of its module",
    });
    assert.equal(refusalOf(bySignature, "Countersign-Identity", "forged")?.reason, "proof_invalid");
    assert.equal(refusalOf(bySignature, "Countersign-Identity", "good"), undefined);
    assert.deepEqual(
      refusalOf(bySignature, "Countersign-Identity", "good", "Countersign-Proof", "x"),
      MADE_UP,
    );
  });

  test("asks for the client certificate of the connection, and the secret besides", () => {
    const both = judgeArr({
      secrets: () => [SECRET],
      mutualTls: true,
      takesCertificates: false,
      signatureNeeded: false,
    });
    const uncertified: Refusal = { reason: "hop_unproven", proof: "the client certificate of IIS" };
    assert.deepEqual(refusalOf(both, ...proved), uncertified);
    assert.deepEqual(both(arrived(proved, { authorized: false })), { ok: false, refusal: uncertified });
    assert.deepEqual(both(arrived([], { authorized: true })), { ok: false, refusal: NO_SECRET });
    assert.equal(both(arrived(proved, { authorized: true })).ok, true);
  });
});

describe("judgeProxy()", () => {
  test("takes addresses of a proxy, and of nobody's who has no certificate where one is asked for", () => {
    const forwarded = ["X-Forwarded-For", "10.9.8.7, 192.0.2.7"];
    const value = { forwards: true, caller: "192.0.2.7", vouched: {} };
    assert.deepEqual(judgeProxy({ mutualTls: false })(arrived(forwarded)), { ok: true, value });
    const byCertificate = judgeProxy({ mutualTls: true });
    assert.deepEqual(refusalOf(byCertificate, ...forwarded), {
      reason: "hop_unproven",
      proof: "the client certificate of the proxy",
    });
    assert.deepEqual(byCertificate(arrived(forwarded, { authorized: true })), { ok: true, value });
  });

  test("takes no word on who the caller is", () => {
    for (const name of ["Countersign-Identity", "X-ARR-ClientCert", "X-MS-CLIENT-PRINCIPAL"]) {
      assert.deepEqual(refusalOf(judgeProxy({ mutualTls: false }), name, "x"), MADE_UP, name);
    }
  });

  test("takes the request id only of a proxy that overwrites it", () => {
    const requestIdOf = () => "from-the-proxy";
    const outcome = judgeProxy({ mutualTls: false, requestIdOf })(arrived([]));
    assert.equal(outcome.ok && outcome.value.requestId, "from-the-proxy");
    const other = judgeProxy({ mutualTls: false })(arrived(["X-Request-Id", "a-visitor's"]));
    assert.equal(other.ok && other.value.requestId, undefined);
  });
});
