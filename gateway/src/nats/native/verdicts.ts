import type { Refusal } from "../../refusal.ts";
import type { JetStreamPublish, JetStreamVerdict } from "./jetstream.ts";
import { JS_ERRORS, type JsType, jsError } from "./js-answer.ts";

export type Forward = Extract<JetStreamVerdict, { readonly do: "forward" }>;

export const NOTHING: Uint8Array = new Uint8Array(0);

/** A request goes out without the client's headers: none of them means anything to JetStream that we understand. */
export function forward(
  subject: string,
  payload: Uint8Array,
  { action, line }: Pick<Forward, "action" | "line">,
): Forward {
  return { do: "forward", subject, payload, headers: [], action, line };
}

export function answer(action: string, payload: Uint8Array, status?: number): JetStreamVerdict {
  return { do: "answer", payload, ...(status !== undefined && { status }), action };
}

/**
 * @param type  what kind of answer the client waits for, when it is to read there what is wrong with its request;
 *              what is not granted it learns as from nats-server
 */
export function refuse({ subject }: JetStreamPublish, refusal: Refusal, type?: JsType): JetStreamVerdict {
  const action = `publish ${subject}`.slice(0, 512);
  if (type === undefined || refusal.reason !== "request_invalid") return { do: "refuse", refusal, action };
  const description = `the request ${refusal.why}`;
  return { do: "refuse", refusal, action, payload: jsError(type, { ...JS_ERRORS.badRequest, description }) };
}

/** What stands in no line of the Grant, whatever else may be wrong with it. */
export function notGranted(publish: JetStreamPublish): JetStreamVerdict {
  const action = `publish ${publish.subject}`.slice(0, 512);
  return { do: "refuse", refusal: { reason: "not_granted", action }, action };
}

export function invalid(why: string): Refusal {
  return { reason: "request_invalid", what: "jetstream", why };
}
