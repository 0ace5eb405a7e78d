import assert from "node:assert/strict";
import { test } from "node:test";
import { checkAmbient } from "./ambient.ts";

const origins = new Set(["https://apps.example.com"]);
type Asked = Parameters<typeof checkAmbient>[0];

function ask(asked: Partial<Asked>): boolean {
  const presented = { method: "GET", origin: null, fetchSite: null, navigation: false, deliberate: false };
  const outcome = checkAmbient({ ...presented, ...asked }, origins);
  if (!outcome.ok) {
    const { origin = null, fetchSite = null } = asked;
    assert.deepEqual(outcome.refusal, { reason: "cross_site", origin, fetchSite });
  }
  return outcome.ok;
}

test("checkAmbient() goes by the Origin when there is one, whatever else is there", () => {
  assert.equal(ask({ origin: "https://apps.example.com" }), true);
  assert.equal(ask({ origin: "https://apps.example.com", fetchSite: "same-site", method: "POST" }), true);
  for (const origin of [
    "https://evil.example",
    "http://apps.example.com",
    "https://apps.example.com:8443",
    "https://apps.example.com.evil.example",
    "https://APPS.example.com",
    "https://apps.example.com/",
    "null",
    "",
  ]) {
    assert.equal(ask({ origin }), false, origin);
    assert.equal(
      ask({ origin, fetchSite: "same-origin", deliberate: true, navigation: true }),
      false,
      origin,
    );
  }
});

test("checkAmbient() refuses the origin null even if it is listed", () => {
  const presented = { method: "GET", origin: "null", fetchSite: null, navigation: false, deliberate: true };
  assert.equal(checkAmbient(presented, new Set(["null"])).ok, false);
});

test("checkAmbient() goes by Sec-Fetch-Site when there is no Origin", () => {
  assert.equal(ask({ fetchSite: "same-origin" }), true);
  assert.equal(ask({ fetchSite: "same-origin", method: "POST" }), true);
  for (const fetchSite of ["cross-site", "same-site", "", "Same-Origin", "same-origin, none"]) {
    assert.equal(ask({ fetchSite, deliberate: true, navigation: true }), false, fetchSite);
  }
});

test("checkAmbient() takes none only from a top-level GET", () => {
  assert.equal(ask({ fetchSite: "none", navigation: true }), true);
  assert.equal(ask({ fetchSite: "none" }), false);
  assert.equal(ask({ fetchSite: "none", navigation: true, method: "POST" }), false);
  assert.equal(ask({ fetchSite: "none", deliberate: true }), false);
});

test("checkAmbient() asks for Countersign-Request where no browser says where it comes from", () => {
  assert.equal(ask({}), false);
  assert.equal(ask({ navigation: true }), false);
  assert.equal(ask({ deliberate: true, method: "POST" }), true);
});
