import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { formatListed, type ListedPattern, SubjectAlgebra } from "./algebra.ts";
import { hasWildcard, includes, intersection, overlaps } from "./pattern.ts";

const SEED = Number(process.env.FUZZ_SEED ?? Math.floor(Math.random() * 2 ** 31));

// "z" stands for every token that no pattern spells, so that this small universe is as good as the infinite one.
const TOKENS = ["a", "b", "z"];
const UNIVERSE = [1, 2, 3, 4, 5].flatMap((length) => subjectsOf(length));

const pattern = fc
  .tuple(fc.array(fc.constantFrom("a", "b", "*"), { minLength: 0, maxLength: 3 }), fc.constantFrom("", ">"))
  .map(([tokens, rest]) => [...tokens, ...(rest || tokens.length === 0 ? [">"] : [])].join("."));
const patterns = fc.array(pattern, { maxLength: 5 });

function subjectsOf(length: number): string[] {
  if (length === 0) return [""];
  return subjectsOf(length - 1).flatMap((subject) =>
    TOKENS.map((token) => (subject === "" ? token : `${subject}.${token}`)),
  );
}

/** The definition, as directly as it can be written. */
function matches(one: string, subject: string): boolean {
  const body = one.replaceAll("*", "[^.]+").replace(/(^|\.)>$/, "$1.+");
  return new RegExp(`^${body}$`).test(subject);
}

function subjectsIn(all: readonly string[]): string[] {
  return UNIVERSE.filter((subject) => all.some((one) => matches(one, subject)));
}

function holds<T extends unknown[]>(property: fc.IProperty<T>): void {
  fc.assert(property, { seed: SEED, numRuns: 1_000 });
}

test("includes(), overlaps() and intersection() agree with every subject of a small universe", (t) => {
  t.diagnostic(`FUZZ_SEED=${SEED}`);
  holds(
    fc.property(pattern, pattern, (a, b) => {
      const both = UNIVERSE.filter((subject) => matches(a, subject) && matches(b, subject));
      assert.equal(overlaps(a, b), both.length > 0);
      assert.equal(
        includes(a, b),
        subjectsIn([b]).every((subject) => matches(a, subject)),
      );
      const one = intersection(a, b);
      assert.deepEqual(one === undefined ? [] : subjectsIn([one]), both);
      assert.equal(hasWildcard(a), /[*>]/.test(a));
    }),
  );
});

test("SubjectAlgebra agrees with every subject of a small universe on union, intersection and difference", () => {
  holds(
    fc.property(patterns, patterns, (a, b) => {
      const algebra = new SubjectAlgebra();
      const setA = algebra.union(a);
      const setB = algebra.union(b);
      const inA = new Set(subjectsIn(a));
      const inB = new Set(subjectsIn(b));
      for (const subject of UNIVERSE) {
        const [left, right] = [inA.has(subject), inB.has(subject)];
        assert.equal(algebra.has(setA, subject), left);
        assert.equal(algebra.has(algebra.either(setA, setB), subject), left || right);
        assert.equal(algebra.has(algebra.both(setA, setB), subject), left && right);
        assert.equal(algebra.has(algebra.without(setA, setB), subject), left && !right);
      }
      assert.equal(
        algebra.includes(setA, setB),
        [...inB].every((subject) => inA.has(subject)),
      );
    }),
  );
});

test("SubjectAlgebra makes equal sets of equal patterns, whatever their order and repetition", () => {
  holds(
    fc.property(patterns, patterns, (a, b) => {
      const algebra = new SubjectAlgebra();
      const one = algebra.union([...a, ...b]);
      assert.equal(one, algebra.union([...b, ...a, ...b]));
      assert.equal(algebra.either(algebra.without(one, algebra.union(a)), algebra.union(a)), one);
    }),
  );
});

test("SubjectAlgebra.list() names exactly the subjects of the set", () => {
  const listed = ({ pattern: one, except }: ListedPattern, subject: string): boolean =>
    matches(one, subject) && !except.some((other) => listed(other, subject));
  holds(
    fc.property(patterns, patterns, (a, b) => {
      const algebra = new SubjectAlgebra();
      const set = algebra.without(algebra.union(a), algebra.union(b));
      const list = algebra.list(set);
      const named = UNIVERSE.filter((subject) => list.some((one) => listed(one, subject)));
      assert.deepEqual(
        named,
        UNIVERSE.filter((subject) => algebra.has(set, subject)),
      );
    }),
  );
});

test("SubjectAlgebra.list() says a difference as people would", () => {
  const algebra = new SubjectAlgebra();
  const gained = algebra.without(
    algebra.union(["orders.*.create", "orders.eu.>"]),
    algebra.union(["orders.eu.*"]),
  );
  assert.deepEqual(algebra.list(gained).map(formatListed), [
    "orders.*.create except orders.eu.create",
    "orders.eu.*.>",
  ]);
});

test("SubjectAlgebra gives up, by name, on patterns that multiply beyond all bounds", () => {
  const algebra = new SubjectAlgebra();
  const hostile = Array.from({ length: 400 }, (_, number) =>
    Array.from({ length: 14 }, (__, place) =>
      (number * 31 + place * 17) % 5 === 0 ? `t${number % 7}` : "*",
    ).join("."),
  );
  const started = performance.now();
  try {
    algebra.union(hostile);
  } catch (error) {
    assert.match(String(error), /more than 200,000 parts/);
  }
  assert(performance.now() - started < 30_000, "in bounded time");
});
