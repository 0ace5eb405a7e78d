/** What a stream says of a message that was published to it. */
export type StreamAnswer =
  | { readonly stored: true; readonly stream: string; readonly sequence: number; readonly duplicate: boolean }
  | {
      readonly stored: false;
      /** As in HTTP: 503 passes by itself. */
      readonly status: number;
      /** nats-server's own number for it. */
      readonly code: number;
      readonly description: string;
    };

/** Far more than any acknowledgement: 200 bytes, or an error in a sentence. */
const ANSWER_BYTES_MAX = 4_096;

/**
 * Reads the acknowledgement of JetStream. Whoever listens on the same subject may answer too, in any form.
 *
 * @returns undefined for what is none
 * @source nats-server server/stream.go, JSPubAckResponse
 */
export function parseStreamAnswer(payload: Uint8Array): StreamAnswer | undefined {
  if (payload.length > ANSWER_BYTES_MAX) return undefined;
  const answer = objectOf(payload);
  if (!answer) return undefined;
  const { stream, seq, duplicate, error } = answer;
  if (typeof error === "object" && error !== null) return errorOf(error);
  if (typeof stream !== "string" || stream === "" || !isCount(seq) || seq < 1) return undefined;
  return { stored: true, stream, sequence: seq, duplicate: duplicate === true };
}

function errorOf(error: object): StreamAnswer | undefined {
  const { code, err_code, description } = error as Readonly<Record<string, unknown>>;
  if (!isCount(code) || !isCount(err_code)) return undefined;
  const text = typeof description === "string" ? description : "";
  return { stored: false, status: code, code: err_code, description: text };
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function objectOf(payload: Uint8Array): Readonly<Record<string, unknown>> | undefined {
  try {
    const { buffer, byteOffset, length } = payload;
    const value: unknown = JSON.parse(Buffer.from(buffer, byteOffset, length).toString());
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
