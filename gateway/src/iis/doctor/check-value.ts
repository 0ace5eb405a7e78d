import { nearest } from "../../near.ts";
import type { AttributeFacts } from "../schema/facts.ts";

/**
 * What is wrong with the value of an attribute.
 *
 * @returns what would be right; undefined when it can be used. Whatever IIS expands when it reads is not looked into
 */
export function wrongValue(value: string, facts: AttributeFacts): string | undefined {
  switch (facts.kind) {
    case "text":
      return facts.notEmpty && value === "" ? "expected something, found nothing" : undefined;
    case "boolean":
      return /^(?:true|false)$/i.test(value) ? undefined : "expected true or false";
    case "integer":
      return wrongInteger(value, facts);
    case "duration":
      return wrongDuration(value, facts);
    case "oneOf":
      return isOneOf(value, facts.values) ? undefined : expectedOneOf(value, facts.values);
    case "flags": {
      const wrong = value
        .split(/[,|]/)
        .map((part) => part.trim())
        .find((part) => part !== "" && !isOneOf(part, facts.values) && !/^\d+$/.test(part));
      return wrong === undefined ? undefined : expectedOneOf(wrong, facts.values);
    }
  }
}

function wrongInteger(
  value: string,
  { min, max, outside }: Extract<AttributeFacts, { kind: "integer" }>,
): string | undefined {
  const text = value.trim();
  if (!/^(?:-?\d{1,19}|0x[0-9a-f]{1,16})$/i.test(text)) return "expected a whole number";
  const number = Number(text);
  const from = min ?? Number.NEGATIVE_INFINITY;
  const to = max ?? Number.POSITIVE_INFINITY;
  const isWithin = number >= from && number <= to;
  if (outside) return isWithin ? `expected a number outside ${min}–${max}` : undefined;
  if (isWithin) return undefined;
  return max === undefined ? `expected ${min} or more` : `expected ${min}–${max}`;
}

/** @returns seconds of `[days.]hh:mm:ss`; undefined for anything else */
export function durationSeconds(value: string): number | undefined {
  const [, days = "0", hours = "", minutes = "", seconds = ""] =
    /^(?:(\d{1,8})\.)?(\d{1,2}):(\d{1,2}):(\d{1,2})(?:\.\d{1,7})?$/.exec(value.trim()) ?? [];
  if (hours === "" || Number(hours) > 23 || Number(minutes) > 59 || Number(seconds) > 59) return undefined;
  return Number(days) * 86_400 + Number(hours) * 3_600 + Number(minutes) * 60 + Number(seconds);
}

function wrongDuration(
  value: string,
  { min = 0, max, step = 1 }: Extract<AttributeFacts, { kind: "duration" }>,
): string | undefined {
  const seconds = durationSeconds(value);
  if (seconds === undefined) return "expected [days.]hh:mm:ss";
  if (seconds < min || (max !== undefined && seconds > max)) return `expected ${min}–${max ?? "…"} seconds`;
  return seconds % step === 0 ? undefined : `expected whole steps of ${step} seconds`;
}

/** A difference in case alone is not held against anybody: whether IIS does is not known. */
function isOneOf(value: string, values: readonly string[]): boolean {
  return values.some((each) => each.toLowerCase() === value.trim().toLowerCase());
}

function expectedOneOf(value: string, values: readonly string[]): string {
  const near = nearest(value, values);
  return `expected one of ${values.join(", ")}${near === undefined ? "" : `; did you mean ${near}?`}`;
}
