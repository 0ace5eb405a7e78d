import type { Attempt, AttemptStore } from "../once.ts";
import type { Control } from "./control.ts";
import { readKey, writeKey } from "./kv-write.ts";

const ID = /^[0-9a-f-]{36}$/;

/** What was sent under keys of its callers, in CONTROL: for all instances, an hour long. */
export function createAttemptKv(control: Control): AttemptStore {
  return {
    async write(id, attempt, replaces) {
      return await writeKey(control, {
        bucket: "attempts",
        key: checked(id),
        ...(attempt && { value: JSON.stringify(attempt) }),
        replaces,
      });
    },

    async read(id) {
      const { value, revision } = await readKey(control, "attempts", checked(id));
      return value === undefined ? { revision } : { attempt: parseAttempt(value), revision };
    },
  };
}

function checked(id: string): string {
  if (!ID.test(id)) throw new Error("the id of an attempt is a UUID");
  return id;
}

/** @throws Error for what no gateway has written: then nothing is sent under its key */
function parseAttempt(text: string): Attempt {
  const value = JSON.parse(text) as Partial<Record<keyof Attempt, unknown>>;
  const { fingerprint, txn, untilAt, begunAt, stored } = value;
  const isWhole =
    typeof fingerprint === "string" &&
    typeof txn === "string" &&
    Number.isFinite(untilAt) &&
    Number.isFinite(begunAt) &&
    (stored === undefined || isPlace(stored));
  if (!isWhole) throw new Error("what stands in the bucket of attempts is none");
  return value as Attempt;
}

function isPlace(value: unknown): boolean {
  const { stream, sequence } = Object(value) as Partial<Record<string, unknown>>;
  return typeof stream === "string" && Number.isSafeInteger(sequence);
}
