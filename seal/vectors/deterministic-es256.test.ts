import assert from "node:assert/strict";
import { test } from "node:test";
import { publicJwk, signDeterministically } from "./deterministic-es256.ts";
import { TEST_ONLY_PRIVATE_KEY } from "./test-only-key.ts";

test("signDeterministically() gives the signature of RFC 6979 §A.2.5 for the key it gives there", () => {
  assert.equal(
    signDeterministically("sample", TEST_ONLY_PRIVATE_KEY).toString("hex").toUpperCase(),
    "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716" +
      "F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8",
  );
});

test("publicJwk() gives the public key of RFC 6979 §A.2.5", () => {
  const { x, y } = publicJwk(TEST_ONLY_PRIVATE_KEY);
  assert.deepEqual(
    [x, y].map((part) => Buffer.from(part, "base64url").toString("hex").toUpperCase()),
    [
      "60FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6",
      "7903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4462299",
    ],
  );
});
