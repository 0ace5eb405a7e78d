import assert from "node:assert/strict";
import { test } from "node:test";
import type { EpochSeconds } from "../time.ts";
import type { Identity } from "./identity.ts";
import { createShareIdentity } from "./shared-identity.ts";

function identity(provedAt: EpochSeconds, hash = "h"): Identity {
  return {
    user: "iis-a",
    issuer: "iis",
    id: "a",
    kind: "user",
    attributes: {},
    proof: { kind: "windows", hash },
    provedAt,
    expiresAt: provedAt + 3_600,
  };
}

test("shareIdentity() gives the same object for a minute to those of whom the same is said", () => {
  const share = createShareIdentity(() => undefined);
  const first = share(identity(1_000));
  assert.equal(share(identity(1_000)), first);
  assert.equal(share(identity(1_059)), first);
  assert.notEqual(share(identity(1_059, "other")), first);
  const second = share(identity(1_060));
  assert.notEqual(second, first);
  assert.equal(share(identity(1_061)), second);
  // A clock that was set back.
  assert.notEqual(share(identity(900)), second);
});

test("shareIdentity() shares nothing beyond a sign-out, so that who is proved after it is proved", () => {
  let notBefore: EpochSeconds | undefined;
  const share = createShareIdentity(({ user }) => (user === "iis-a" ? notBefore : undefined));
  const first = share(identity(1_000));
  notBefore = 1_000;
  const second = share(identity(1_001));
  assert.notEqual(second, first);
  assert.equal(second.provedAt, 1_001);
  assert.equal(share(identity(1_002)), second);
});
