import { hash } from "node:crypto";
import type { InboundMessage } from "./connection.ts";

/** base64url SHA-256 over everything that tells two messages apart: subject, reply, time, headers in order, payload. */
export function fingerprintOf({
  subject,
  reply = "",
  brokerTime = 0,
  status = 0,
  headers,
  payload,
}: InboundMessage): string {
  const head = Buffer.from(`${JSON.stringify([subject, reply, brokerTime, status, headers])}\n`);
  return hash("sha256", Buffer.concat([head, payload]), "base64url");
}
