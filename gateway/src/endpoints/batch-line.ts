import { isJsonObject, type Json, type JsonObject, parseStrictJson } from "../identity/strict-json.ts";
import { allowed, type Outcome, refused } from "../refusal.ts";
import type { Demands } from "./demands.ts";
import { natsHeadersOfLine } from "./headers.ts";
import { isIdempotencyKey, KEY_RULE } from "./idempotency-key.ts";
import type { MessageGiven } from "./message.ts";
import { isOfNats, readPrecondition } from "./preconditions.ts";

/** What one line of a batch asks for, before its subject is looked at. */
export interface BatchLine extends MessageGiven, Demands {
  readonly subject: string;
}

const MEMBERS: ReadonlySet<string> = new Set(["subject", "data", "dataBase64", "headers", "idempotencyKey"]);
const UTF8 = new TextDecoder("utf-8", { fatal: true });
const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;

/**
 * Reads one line of a batch: `{subject, data | dataBase64, headers?, idempotencyKey?}`.
 *
 * @returns `request_invalid` or `header_refused`, in words that say what to mend
 */
export function parseBatchLine(bytes: Uint8Array): Outcome<BatchLine> {
  const line = objectOf(bytes);
  if (!line) return invalid("expected one JSON object a line, without names that stand twice");
  const unknown = Object.keys(line).find((name) => !MEMBERS.has(name));
  if (unknown !== undefined)
    return invalid(`${unknown.slice(0, 64)} is unknown; a line has ${[...MEMBERS].join(", ")}`);
  const { subject, headers, idempotencyKey } = line;
  if (typeof subject !== "string") return invalid("subject: expected a text");
  const payload = payloadOf(line);
  if (!payload.ok) return payload;
  const read = readHeaders(headers);
  if (!read.ok) return read;
  if (idempotencyKey === undefined) return allowed({ subject, payload: payload.value, ...read.value });
  if (!isIdempotencyKey(idempotencyKey)) return invalid(`idempotencyKey: ${KEY_RULE}`);
  return allowed({ subject, payload: payload.value, ...read.value, key: idempotencyKey });
}

function payloadOf({ data, dataBase64 }: JsonObject): Outcome<Uint8Array> {
  if (data !== undefined && dataBase64 !== undefined)
    return invalid("data and dataBase64: expected one of them");
  if (dataBase64 !== undefined) {
    const isBase64 = typeof dataBase64 === "string" && dataBase64.length % 4 === 0 && BASE64.test(dataBase64);
    return isBase64
      ? allowed(Buffer.from(dataBase64, "base64"))
      : invalid("dataBase64: expected base64 with padding");
  }
  if (data === undefined) return allowed(new Uint8Array(0));
  // An object would be serialized by us, and the digest would then be of bytes that the caller never saw.
  return typeof data === "string"
    ? allowed(Buffer.from(data))
    : invalid("data: expected a text; write JSON as one");
}

/** Parts nats-server's preconditions from what travels with the message. */
function readHeaders(headers: Json | undefined): Outcome<Pick<BatchLine, "headers" | "preconditions">> {
  const given = isJsonObject(headers) ? Object.entries(headers) : [];
  const preconditions: (readonly [string, string])[] = [];
  for (const [name, value] of given) {
    if (!isOfNats(name)) continue;
    const read = readPrecondition(name, typeof value === "string" ? value : "");
    if (!read.ok) return read;
    if (preconditions.some(([other]) => other === read.value[0])) {
      return refused({
        reason: "header_refused",
        header: name.toLowerCase(),
        why: "more than one; send one",
      });
    }
    preconditions.push(read.value);
  }
  const others =
    preconditions.length === 0 ? headers : Object.fromEntries(given.filter(([name]) => !isOfNats(name)));
  const message = natsHeadersOfLine(others);
  return message.ok ? allowed({ headers: message.value, preconditions }) : message;
}

function objectOf(bytes: Uint8Array): JsonObject | undefined {
  try {
    return parseStrictJson(UTF8.decode(bytes));
  } catch {
    return undefined;
  }
}

function invalid(why: string): ReturnType<typeof refused> {
  return refused({ reason: "request_invalid", what: "line", why });
}
