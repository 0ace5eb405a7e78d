/** Answers in the form of JetStream's API, as its clients read them. */

export type JsType =
  | "account_info"
  | "stream_names"
  | "stream_list"
  | "stream_info"
  | "stream_msg_get"
  | "consumer_create"
  | "consumer_info"
  | "consumer_delete";

/** @source server/errors.json */
export const JS_ERRORS = {
  badRequest: { code: 400, err_code: 10003, description: "bad request" },
  consumerExists: { code: 400, err_code: 10148, description: "consumer already exists" },
  consumerNameInUse: { code: 400, err_code: 10013, description: "consumer name already in use" },
  consumersExceeded: { code: 400, err_code: 10026, description: "maximum consumers limit reached" },
  consumerNotFound: { code: 404, err_code: 10014, description: "consumer not found" },
  messageNotFound: { code: 404, err_code: 10037, description: "no message found" },
} as const;

export interface JsError {
  readonly code: number;
  readonly err_code: number;
  readonly description: string;
}

export function jsAnswer(type: JsType, fields: object): Uint8Array {
  return Buffer.from(JSON.stringify({ type: `io.nats.jetstream.api.v1.${type}_response`, ...fields }));
}

export function jsError(type: JsType, error: JsError): Uint8Array {
  return jsAnswer(type, { error });
}
