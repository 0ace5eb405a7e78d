import assert from "node:assert/strict";
import { hash, randomBytes } from "node:crypto";
import { test } from "node:test";
import type { NotBeforeKey, Session, SessionStore } from "../session.ts";

export interface SuiteStore {
  readonly store: SessionStore;
  readonly stop?: () => Promise<void>;
}

/**
 * What every session store must do. Each test makes its own store.
 *
 * @param name       begins the tests' names
 * @param makeStore  ready to use; `stop` is called when the test ends
 */
export function sessionStoreSuite(name: string, makeStore: () => SuiteStore | Promise<SuiteStore>): void {
  function check(sentence: string, body: (store: SessionStore) => Promise<void>): void {
    test(`${name} ${sentence}`, async () => {
      const { store, stop } = await makeStore();
      try {
        await body(store);
      } finally {
        await stop?.();
      }
    });
  }

  check("gives back what was created, whole", async (store) => {
    const session = testSession();
    await store.create(session);
    assert.deepEqual(plain(await store.get(session.hash)), plain(session));
  });

  check("gives undefined for a session that never was, and for one deleted", async (store) => {
    const session = testSession();
    assert.equal(await store.get(session.hash), undefined);
    await store.create(session);
    await store.delete(session.hash);
    assert.equal(await store.get(session.hash), undefined);
  });

  check("refuses to create a session over another", async (store) => {
    const session = testSession();
    await store.create(session);
    await assert.rejects(store.create({ ...session, endsAt: session.endsAt + 1 }));
    assert.deepEqual(plain(await store.get(session.hash)), plain(session));
  });

  check("replaces a session that is still the one read", async (store) => {
    const session = testSession();
    await store.create(session);
    const read = await store.get(session.hash);
    assert.ok(read);
    assert.equal(await store.update({ ...read, lastSeenAt: read.lastSeenAt + 60 }, read), true);
    assert.equal((await store.get(session.hash))?.lastSeenAt, session.lastSeenAt + 60);
  });

  check("replaces nothing when somebody was faster", async (store) => {
    const session = testSession();
    await store.create(session);
    const read = await store.get(session.hash);
    assert.ok(read);
    assert.equal(await store.update({ ...read, lastSeenAt: 1 }, read), true);
    assert.equal(await store.update({ ...read, lastSeenAt: 2 }, read), false);
    assert.equal((await store.get(session.hash))?.lastSeenAt, 1);
  });

  check("brings no deleted session back by replacing it", async (store) => {
    const session = testSession();
    await store.create(session);
    const read = await store.get(session.hash);
    assert.ok(read);
    await store.delete(session.hash);
    assert.equal(await store.update({ ...read, lastSeenAt: 1 }, read), false);
    assert.equal(await store.get(session.hash), undefined);
  });

  check("gives the refresh lock of a session to one at a time", async (store) => {
    const { hash: key } = testSession();
    assert.deepEqual(
      (await Promise.all([store.lockRefresh(key, 30), store.lockRefresh(key, 30)])).toSorted(),
      [false, true],
    );
    assert.equal(await store.lockRefresh(testSession().hash, 30), true);
    await store.unlockRefresh(key);
    assert.equal(await store.lockRefresh(key, 30), true);
  });

  check("remembers what was used, again and again, apart from refresh locks", async (store) => {
    const { hash: key } = testSession();
    assert.equal(await store.isRemembered(key), false);
    await store.remember(key, 30);
    assert.equal(await store.isRemembered(key), true);
    await store.remember(key, 30);
    assert.equal(await store.isRemembered(key), true);
    assert.equal(await store.isRemembered(testSession().hash), false);
    assert.equal(await store.lockRefresh(key, 30), true);
    await store.unlockRefresh(key);
    assert.equal(await store.isRemembered(key), true);
  });

  check("lets one of those succeed that remember the same thing once", async (store) => {
    const { hash: key } = testSession();
    const tries = await Promise.all([1, 2, 3].map(() => store.rememberOnce(key, 30)));
    assert.deepEqual(tries.toSorted(), [false, false, true]);
    assert.equal(await store.rememberOnce(key, 30), false);
    assert.equal(await store.isRemembered(key), true);
  });

  check("remembers a not-before of a user and of a session apart, and never lowers it", async (store) => {
    const { hash: key } = testSession();
    assert.equal(store.notBefore({ session: key }), undefined);
    await store.raiseNotBefore({ session: key }, 1_000);
    await store.raiseNotBefore({ session: key }, 900);
    assert.equal(store.notBefore({ session: key }), 1_000);
    assert.equal(store.notBefore({ user: key }), undefined);
    await store.raiseNotBefore({ user: "demo-a=2Eb" }, 2_000.5);
    assert.equal(store.notBefore({ user: "demo-a=2Eb" }), 2_000.5);
  });

  check("tells its listeners of a not-before, until they stop", async (store) => {
    const heard: [NotBeforeKey, number][] = [];
    let tell = (): void => {};
    const first = new Promise<void>((resolve) => {
      tell = resolve;
    });
    const stop = store.onNotBefore((key, at) => {
      heard.push([key, at]);
      tell();
    });
    await store.raiseNotBefore({ user: "demo-alice" }, 1_000);
    await first;
    stop();
    await store.raiseNotBefore({ user: "demo-alice" }, 2_000);
    assert.deepEqual(heard, [[{ user: "demo-alice" }, 1_000]]);
  });
}

/** A session nobody else has, with every optional member. */
export function testSession(overrides: Partial<Session> = {}): Session {
  const at = 1_790_000_000;
  return {
    hash: hash("sha256", randomBytes(32), "base64url"),
    identity: {
      user: "demo-alice",
      issuer: "demo",
      id: "alice",
      name: "Alice Ünlü",
      kind: "user",
      client: "gw",
      attributes: { groups: ["Orders.Clerks", "日本"], region: ["eu"] },
      acr: "mfa",
      provedAt: at,
    },
    signedInAt: at,
    lastSeenAt: at,
    endsAt: at + 28_800,
    refreshAt: at + 600,
    sealedRefreshToken: "c2VhbGVk",
    upstreamSid: "sid-1",
    ...overrides,
  };
}

/** Prototypes and non-enumerable marks of a store are its own affair. */
function plain(session: Session | undefined): unknown {
  return session && JSON.parse(JSON.stringify(session));
}
