import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { calculateJwkThumbprint } from "jose";
import type { SealPublicJwk } from "./directory.ts";
import {
  current,
  EMPTY_RING,
  type MintSealKey,
  mintSealKey,
  publicEcJwkOf,
  published,
  rotate,
  type SealKeyRing,
  thumbprintOf,
  unpublished,
} from "./ring.ts";

const DAY = 86_400;
const NOW = 1_790_000_000;
const SKEW_SECONDS = 5;

/** Keys that differ only in name: rotation asks nothing else of them. */
function fakeMint(): MintSealKey {
  const { privateKey } = mintSealKey();
  let made = 0;
  return () => ({ privateKey, jwk: { kty: "EC", crv: "P-256", x: `x${made++}`, y: "y" } });
}

function publishAll(ring: SealKeyRing, now: number): SealKeyRing {
  return unpublished(ring).reduce((next, { kid }) => published(next, kid, now), ring);
}

test("mintSealKey() makes a P-256 key whose kid is its RFC 7638 thumbprint", async () => {
  const { privateKey, jwk } = mintSealKey();
  assert.deepEqual(publicEcJwkOf(privateKey), jwk);
  assert.equal(thumbprintOf(jwk), await calculateJwkThumbprint(jwk));
  assert.throws(() => publicEcJwkOf(generateKeyPairSync("ed25519").privateKey), TypeError);
});

test("rotate() makes the first key, which seals as soon as it is published and not before", () => {
  const ring = rotate(EMPTY_RING, NOW, fakeMint());
  const [key] = ring.keys;
  assert.ok(key);
  const { kid } = key;
  assert.equal(current(ring, NOW), undefined);
  assert.deepEqual(key.publicJwk, {
    kty: "EC",
    crv: "P-256",
    x: "x0",
    y: "y",
    kid,
    alg: "ES256",
    use: "sig",
    nbf: NOW - 300,
    exp: NOW + 38 * DAY,
  });
  const usable = published(ring, kid, NOW + 1);
  assert.equal(current(usable, NOW + 1)?.kid, kid);
  assert.equal(current(usable, NOW - 5)?.kid, kid, "also when the clock is set back a little");
  assert.equal(rotate(usable, NOW + 2, fakeMint()), usable);
});

test("rotate() publishes the next key a day before its first use, after 30 days", () => {
  const mint = fakeMint();
  const first = publishAll(rotate(EMPTY_RING, NOW, mint), NOW);
  assert.equal(rotate(first, NOW + 30 * DAY - 1, mint), first);
  const second = publishAll(rotate(first, NOW + 30 * DAY, mint), NOW + 30 * DAY);
  assert.equal(second.keys.length, 2);
  const [old, next] = second.keys;
  assert.equal(current(second, NOW + 31 * DAY - 1)?.kid, old?.kid);
  assert.equal(current(second, NOW + 31 * DAY)?.kid, next?.kid);
});

test("rotate() drops a private key when the last seal made with it is over", () => {
  const mint = fakeMint();
  const ring = rotate(publishAll(rotate(EMPTY_RING, NOW, mint), NOW), NOW + 30 * DAY, mint);
  const [old] = ring.keys;
  assert.ok(old);
  assert.equal(old.expiresAt, old.retireAt + 65);
  assert.equal(rotate(ring, old.expiresAt - 1, mint).keys.length, 2);
  assert.deepEqual(
    rotate(ring, old.expiresAt, mint).keys.map(({ kid }) => kid),
    ring.keys.slice(1).map(({ kid }) => kid),
  );
});

test("current() keeps to the old key for a week when its successor cannot be published, then refuses", () => {
  const mint = fakeMint();
  const ring = rotate(publishAll(rotate(EMPTY_RING, NOW, mint), NOW), NOW + 30 * DAY, mint);
  assert.equal(current(ring, NOW + 38 * DAY - 1)?.kid, ring.keys[0]?.kid);
  assert.equal(current(ring, NOW + 38 * DAY), undefined);
  const late = publishAll(ring, NOW + 39 * DAY);
  assert.equal(current(late, NOW + 39 * DAY)?.kid, ring.keys[1]?.kid, "at once, since there is no other");
  const justBefore = publishAll(ring, NOW + 38 * DAY - 10);
  assert.equal(current(justBefore, NOW + 38 * DAY - 1)?.kid, ring.keys[0]?.kid);
  assert.equal(
    current(justBefore, NOW + 38 * DAY)?.kid,
    ring.keys[1]?.kid,
    "no gap when the old one retires",
  );
});

test("rotate() is not held up by a key that was made while the clock was wrong", () => {
  const mint = fakeMint();
  const wrong = publishAll(rotate(EMPTY_RING, NOW + 400 * DAY, mint), NOW + 400 * DAY);
  const mended = publishAll(rotate(wrong, NOW, mint), NOW);
  assert.equal(mended.keys.length, 2);
  assert.equal(current(mended, NOW)?.kid, mended.keys[1]?.kid);
});

interface Step {
  readonly seconds: number;
  /** The instance's clock against the verifier's, seconds. */
  readonly skew: number;
  /** Days without the instance. */
  readonly off: number;
  readonly directoryDown: boolean;
  /** Killed after publishing, before the ring on disk says so. */
  readonly crash: boolean;
}

test("rotate() through years, outages, crashes and skew: every fresh seal verifies against what is published", () => {
  const step: fc.Arbitrary<Step> = fc.record({
    seconds: fc.integer({ min: 1, max: DAY }),
    skew: fc.integer({ min: -SKEW_SECONDS, max: SKEW_SECONDS }),
    off: fc.oneof({ weight: 200, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(90) }),
    directoryDown: fc.boolean(),
    crash: fc.boolean(),
  });
  const steps = fc.array(step, { minLength: 50, maxLength: 4000, size: "max" });
  fc.assert(fc.property(steps, fc.integer({ min: 1, max: 40 }), simulate), {
    numRuns: 40,
    interruptAfterTimeLimit: 20_000,
    markInterruptAsFailure: true,
  });
});

function simulate(steps: readonly Step[], useDays: number): void {
  const mint = fakeMint();
  const directory = new Map<string, { readonly jwk: SealPublicJwk; readonly since: number }>();
  let [time, onDisk] = [NOW, EMPTY_RING];
  for (const { seconds, skew, off, directoryDown, crash } of steps) {
    time += seconds + off * DAY;
    const clock = time + skew;
    let ring = rotate(onDisk, clock, mint, { useSeconds: useDays * DAY });
    onDisk = ring;
    for (const { kid, publicJwk } of directoryDown ? [] : unpublished(ring)) {
      if (!directory.has(kid)) directory.set(kid, { jwk: publicJwk, since: time });
      ring = published(ring, kid, clock);
    }
    if (!crash) onDisk = ring;
    assert.ok(ring.keys.every(({ expiresAt }) => expiresAt > clock) && ring.keys.length <= 12);
    const key = current(ring, clock);
    if (key === undefined) {
      assert.ok(directoryDown, "sealing stops only while nothing can be published");
      continue;
    }
    const { jwk, since } = directory.get(key.kid) ?? assert.fail("sealed with a key nobody published");
    assert.ok(jwk.nbf <= clock && clock <= jwk.exp && clock + 60 < key.expiresAt);
    // So a verifier that fetches the set once a day knows it, unless there was none better to use.
    const better = ring.keys.some(
      (each) =>
        each !== key && each.publicJwk.exp > clock && (directory.get(each.kid)?.since ?? time) < since,
    );
    assert.ok(!better || time - since >= DAY - 2 * SKEW_SECONDS, "known a day ahead");
  }
}
