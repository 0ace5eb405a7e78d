import assert from "node:assert/strict";
import { test } from "node:test";
import type { Identity } from "../identity/identity.ts";
import type { NotBeforeKey } from "../identity/session.ts";
import type { Grant } from "../policy/grant.ts";
import { createDirectConnections, type DirectConnection, type Place } from "./direct-connections.ts";

const NOW = 1_000;

function bench() {
  const cut: number[] = [];
  const notBefores = new Map<string, number>();
  let grant: Grant | undefined = { hash: "grant" } as Grant;
  let now = NOW;
  let current = true;
  const direct = createDirectConnections({
    kick: async ({ cid }: Place) => cut.push(cid),
    notBefore({ user, session }: NotBeforeKey) {
      if (!current) throw new Error("they may be out of date");
      return notBefores.get(user ?? session ?? "");
    },
    grantOf: () => grant,
    clock: () => now,
  });
  return {
    direct,
    cut,
    notBefores,
    regrant: (next: Grant | undefined) => {
      grant = next;
    },
    outdate: () => {
      current = false;
    },
    pass: (seconds: number) => {
      now += seconds;
    },
  };
}

let cids = 0;
function connectionOf({
  user = "test-ada",
  actor,
  hash = "hash",
  kind = "bearer",
  provedAt = 900,
  expiresAt = NOW + 600,
}: {
  readonly user?: string;
  readonly actor?: string;
  readonly hash?: string;
  readonly kind?: "bearer" | "session";
  readonly provedAt?: number;
  readonly expiresAt?: number;
} = {}): DirectConnection {
  const identity = {
    user,
    ...(actor !== undefined && { actor: { user: actor } }),
    proof: { kind, hash },
    provedAt,
  } as Identity;
  cids += 1;
  return { serverId: "N1", cid: cids, identity, grantHash: "grant", way: "nats", expiresAt };
}

test("end() cuts the user's connections, those of agents in that name, and those of the user as an agent", () => {
  const { direct, cut } = bench();
  const own = connectionOf();
  const byAgent = connectionOf({ actor: "test-bot" });
  const asAgent = connectionOf({ user: "test-eve", actor: "test-ada" });
  const other = connectionOf({ user: "test-eve" });
  for (const each of [own, byAgent, asAgent, other]) assert.deepEqual(direct.add(each).ok, true);
  direct.end({ user: "test-ada" }, NOW);
  assert.deepEqual(cut, [own.cid, byAgent.cid, asAgent.cid]);
  assert.equal(direct.size, 1);
  assert(direct.has(other) && !direct.has(own));
});

test("end() of a session cuts what was opened with it and nothing else of the user", () => {
  const { direct, cut } = bench();
  const ofSession = connectionOf({ hash: "session", kind: "session" });
  const ofToken = connectionOf({ hash: "token" });
  direct.add(ofSession);
  direct.add(ofToken);
  direct.end({ session: "session" }, NOW);
  assert.deepEqual(cut, [ofSession.cid]);
});

test("end() leaves what was proved after it", () => {
  const { direct, cut } = bench();
  direct.add(connectionOf({ provedAt: NOW + 1 }));
  direct.end({ user: "test-ada" }, NOW);
  assert.deepEqual(cut, []);
});

test("add() refuses what was signed out while it was being judged", () => {
  const { direct, notBefores } = bench();
  notBefores.set("test-ada", 950);
  const outcome = direct.add(connectionOf());
  assert.deepEqual(outcome, {
    ok: false,
    refusal: { reason: "proof_revoked", notBefore: 950, provedAt: 900 },
  });
  assert.equal(direct.size, 0);
});

test("add() refuses while sign-outs are not known, and what was judged under a policy that is no more", () => {
  const { direct, regrant, outdate } = bench();
  regrant({ hash: "another" } as Grant);
  const narrowed = direct.add(connectionOf());
  assert(
    !narrowed.ok && narrowed.refusal.reason === "check_unavailable" && narrowed.refusal.check === "policy",
  );
  regrant({ hash: "grant" } as Grant);
  outdate();
  const unknown = direct.add(connectionOf());
  assert(!unknown.ok && unknown.refusal.reason === "check_unavailable");
  assert.equal(direct.size, 0);
});

test("regrant() cuts whose grant is another now or none, and leaves the others", () => {
  const { direct, cut } = bench();
  const [same, other, none] = [
    connectionOf({ user: "test-same" }),
    connectionOf({ user: "test-other" }),
    connectionOf({ user: "test-none" }),
  ];
  for (const each of [same, other, none]) direct.add(each);
  const hashes = new Map([
    ["test-same", "grant"],
    ["test-other", "wider"],
  ]);
  direct.regrant(({ user }) => {
    const hash = hashes.get(user);
    return hash === undefined ? undefined : ({ hash } as Grant);
  });
  assert.deepEqual(cut, [other.cid, none.cid]);
  assert(direct.has(same));
});

test("memory is bounded: what has expired goes first, then the oldest", () => {
  const { direct, pass } = bench();
  for (let count = 0; count < 5_000; count += 1) direct.add(connectionOf());
  assert.equal(direct.size, 5_000);
  pass(601);
  for (let count = 0; count < 20_000; count += 1) direct.add(connectionOf({ expiresAt: 10_000 }));
  assert.equal(direct.size, 20_000);
  for (let count = 0; count < 100_000; count += 1) direct.add(connectionOf({ expiresAt: 10_000 }));
  assert(direct.size <= 100_000, String(direct.size));
  assert(direct.size > 95_000, String(direct.size));
});
