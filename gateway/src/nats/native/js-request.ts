/**
 * What a subject under `$JS.` or `$KV.` asks for. Names are taken as they stand: whether they are anybody's is for
 * the judge to say.
 *
 * @source https://docs.nats.io/reference/reference-protocols/nats_api_reference
 */
export type JsRequest =
  | { readonly ask: "account-info" | "stream-names" | "stream-list" }
  | { readonly ask: "stream-info" | "message-get"; readonly stream: string }
  /** `subject`: whose last message; absent when the payload says. */
  | { readonly ask: "direct-get"; readonly stream: string; readonly subject?: string }
  | {
      readonly ask: "consumer-create";
      readonly stream: string;
      readonly name?: string;
      readonly filter?: string;
    }
  | {
      readonly ask: "consumer-info" | "consumer-delete" | "consumer-next";
      readonly stream: string;
      readonly name: string;
    }
  /** `consumer`: as NATS knows it, since the subject came with a message. */
  | { readonly ask: "ack" | "flow-control"; readonly stream: string; readonly consumer: string }
  | { readonly ask: "kv-write"; readonly bucket: string; readonly key: string };

/** An acknowledgement says how often, at which sequences, when and before how many it was delivered. */
const ACK = /^\$JS\.ACK\.([^.]+)\.([^.]+)(?:\.\d{1,20}){5}$/;
const FLOW_CONTROL = /^\$JS\.FC\.([^.]+)\.([^.]+)\.[^.]+$/;
const API = "$JS.API.";
const NAME = /^[^\s.*>/\\]{1,128}$/;

/** Whether nats-server would take it as the name of a stream or consumer, and it is not longer than anybody needs. */
export function isJsName(name: string): boolean {
  return NAME.test(name);
}

/** @returns undefined for what no stock client needs, or is not well-formed */
export function parseJsRequest(subject: string): JsRequest | undefined {
  if (subject.startsWith("$KV.")) return parseKey(subject);
  if (subject.startsWith(API)) return parseApi(subject.slice(API.length).split("."));
  return (
    parseDelivered("ack", ACK.exec(subject)) ?? parseDelivered("flow-control", FLOW_CONTROL.exec(subject))
  );
}

function parseKey(subject: string): JsRequest | undefined {
  const [, bucket = "", ...key] = subject.split(".");
  return key.length > 0 ? { ask: "kv-write", bucket, key: key.join(".") } : undefined;
}

function parseDelivered(ask: "ack" | "flow-control", match: RegExpExecArray | null): JsRequest | undefined {
  const [, stream, consumer] = match ?? [];
  return stream !== undefined && consumer !== undefined ? { ask, stream, consumer } : undefined;
}

function parseApi(tokens: readonly string[]): JsRequest | undefined {
  const [kind = "", verb = "", ...rest] = tokens;
  switch (kind) {
    case "INFO":
      return tokens.length === 1 ? { ask: "account-info" } : undefined;
    case "STREAM":
      return parseStream(verb, rest);
    case "DIRECT":
      return verb === "GET" ? parseDirect(rest) : undefined;
    case "CONSUMER":
      return parseConsumer(verb, rest);
    default:
      return undefined;
  }
}

function parseStream(verb: string, rest: readonly string[]): JsRequest | undefined {
  const [stream, more] = rest;
  if (stream === undefined) {
    if (verb === "NAMES") return { ask: "stream-names" };
    return verb === "LIST" ? { ask: "stream-list" } : undefined;
  }
  if (verb === "INFO" && rest.length === 1) return { ask: "stream-info", stream };
  if (verb !== "MSG" || stream !== "GET" || more === undefined || rest.length !== 2) return undefined;
  return { ask: "message-get", stream: more };
}

function parseDirect([stream, ...subject]: readonly string[]): JsRequest | undefined {
  if (stream === undefined) return undefined;
  return { ask: "direct-get", stream, ...(subject.length > 0 && { subject: subject.join(".") }) };
}

function parseConsumer(verb: string, rest: readonly string[]): JsRequest | undefined {
  switch (verb) {
    case "CREATE": {
      const [stream, name, ...filter] = rest;
      if (stream === undefined || (name !== undefined && !isJsName(name))) return undefined;
      const asked = {
        ...(name !== undefined && { name }),
        ...(filter.length > 0 && { filter: filter.join(".") }),
      };
      return { ask: "consumer-create", stream, ...asked };
    }
    case "DURABLE":
      // The older form, which clients still take for several filters: the name stands behind `CREATE`.
      return rest[0] === "CREATE" && rest.length === 3 ? parseConsumer("CREATE", rest.slice(1)) : undefined;
    case "INFO":
      return parseNamed("consumer-info", rest);
    case "DELETE":
      return parseNamed("consumer-delete", rest);
    case "MSG":
      return rest[0] === "NEXT" ? parseNamed("consumer-next", rest.slice(1)) : undefined;
    default:
      return undefined;
  }
}

function parseNamed(
  ask: "consumer-info" | "consumer-delete" | "consumer-next",
  [stream, name, ...more]: readonly string[],
): JsRequest | undefined {
  if (stream === undefined || name === undefined || more.length > 0 || !isJsName(name)) return undefined;
  return { ask, stream, name };
}
