import { openBox, sealBox } from "./identity/sealed-box.ts";

/** What was handed out, by which consumer, and where it is acknowledged. */
export interface Acknowledgeable {
  readonly stream: string;
  /** As the policy declares it. */
  readonly consumer: string;
  readonly subject: string;
  /** The reply subject, `$JS.ACK.…`. */
  readonly acknowledgement: string;
}

/**
 * An acknowledgement as somebody holds it who does not speak NATS: opaque, and good in the hands of whom it was made
 * for only.
 *
 * @param key     32 bytes
 * @param holder  user and actor (`holderOf`)
 * @returns base64url
 */
export function sealAck(key: Buffer, holder: string, what: Acknowledgeable): string {
  const { stream, consumer, subject, acknowledgement } = what;
  return sealBox(key, JSON.stringify([stream, consumer, subject, acknowledgement]), contextOf(holder));
}

/** @returns undefined for what `sealAck` did not make for this holder */
export function openAck(key: Buffer, holder: string, handle: string): Acknowledgeable | undefined {
  const text = openBox(key, handle, contextOf(holder));
  if (text === undefined) return undefined;
  const [stream = "", consumer = "", subject = "", acknowledgement = ""] = JSON.parse(text) as string[];
  return { stream, consumer, subject, acknowledgement };
}

function contextOf(holder: string): string {
  return `ack handle for ${holder}`;
}
