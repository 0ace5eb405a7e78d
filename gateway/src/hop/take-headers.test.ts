import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { claimOf } from "./headers.ts";
import { takeClaims, takeSpentAuthorization } from "./take-headers.ts";
import { arrived } from "./testing/arrived.ts";

const name = fc.oneof(
  fc.constantFrom(
    "Countersign-Identity",
    "countersign_PROOF",
    "MS-ASPNETCORE-TOKEN",
    "X-ARR-ClientCert",
    "x-ms-token-x",
  ),
  fc.constantFrom(
    "Cookie",
    "Content-Type",
    "X-Forwarded-For",
    "Authorization",
    "X-MS",
    "Ms-Aspnet",
    "Countersign-Request",
  ),
  fc.stringMatching(/^[A-Za-z_-]{1,24}$/),
);
const value = fc.oneof(fc.constantFrom("Negotiate abc", "Bearer abc", ""), fc.string({ maxLength: 12 }));
const headers = fc.array(fc.tuple(name, value), { maxLength: 12 });

test("takeClaims() leaves no claim in a request, and everything else as it was", () => {
  fc.assert(
    fc.property(headers, (given) => {
      const request = arrived(given.flat());
      const { claims, fault } = takeClaims(request);
      const others = given.filter(([each]) => claimOf(each) === undefined);
      assert.deepEqual(request.rawHeaders, others.flat());
      assert(Object.keys(request.headers).every((each) => claimOf(each) === undefined));
      const claimed = given.map(([each]) => each).filter((each) => claimOf(each) !== undefined);
      assert.deepEqual(new Set(claims.keys()), new Set(claimed.map((each) => claimOf(each))));
      const isAmbiguous = claims.size < claimed.length || claimed.some((each) => each.includes("_"));
      assert.equal(fault !== undefined, isAmbiguous);
    }),
  );
});

test("takeSpentAuthorization() takes out every Authorization that IIS spends, and no other header", () => {
  fc.assert(
    fc.property(headers, (given) => {
      const request = arrived(given.flat());
      takeSpentAuthorization(request);
      const isSpent = ([each, text]: readonly [string, string]) =>
        each.toLowerCase() === "authorization" && text.startsWith("Negotiate ");
      assert.deepEqual(request.rawHeaders, given.filter((each) => !isSpent(each)).flat());
    }),
  );
});
