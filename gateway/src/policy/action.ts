import { allowed, type Outcome, refused } from "../refusal.ts";
import { type LineShape, parseLine, VERB_FORMS } from "./line.ts";
import { hasWildcard } from "./pattern.ts";

/**
 * A verb and its object, written one way everywhere (policy, tests, command line, audit, explain):
 * `publish orders.eu.1.create`. `formatAction` and `parseAction` convert.
 */
export type Action =
  | { readonly verb: "publish" | "request"; readonly subject: string }
  | { readonly verb: "subscribe" | "respond"; readonly subject: string; readonly queue?: string }
  | {
      readonly verb: "read-stream";
      readonly stream: string;
      readonly subject: string;
      readonly consumer?: string;
    }
  | { readonly verb: "read-kv" | "write-kv"; readonly bucket: string; readonly key: string }
  | { readonly verb: "connect"; readonly way: "native" | "direct" | "mqtt" }
  | { readonly verb: "read-audit" | "end-sessions" | "push-policy" };

/** Writes an action as policies and tests do. The inverse of `parseAction`. */
export function formatAction(action: Action): string {
  switch (action.verb) {
    case "publish":
    case "request":
      return `${action.verb} ${action.subject}`;
    case "respond":
    case "subscribe":
      return action.queue === undefined
        ? `${action.verb} ${action.subject}`
        : `${action.verb} ${action.subject} queue ${action.queue}`;
    case "read-stream":
      return action.consumer === undefined
        ? `read-stream ${action.stream} ${action.subject}`
        : `read-stream ${action.stream} ${action.subject} consumers [${action.consumer}]`;
    case "read-kv":
    case "write-kv":
      return `${action.verb} ${action.bucket} ${action.key}`;
    case "connect":
      return `connect ${action.way}`;
    case "read-audit":
    case "end-sessions":
    case "push-policy":
      return action.verb;
  }
}

/**
 * Reads an action: the language of a policy line without templates, a wildcard only where something is read or
 * subscribed to, and at most one consumer.
 *
 * @returns `request_invalid` with every fault in one sentence; at most 512 characters are read
 */
export function parseAction(text: string): Outcome<Action> {
  const parsed = parseLine(text, { templates: false });
  if (!parsed.ok) return invalid(parsed.faults.map((fault) => fault.message).join("; "));
  const { line } = parsed;
  const writes = line.verb === "publish" || line.verb === "request" || line.verb === "write-kv";
  if (writes && hasWildcard(line.pattern)) {
    return invalid(`names "${line.pattern}"; ${line.verb} goes to one subject, without wildcards`);
  }
  return actionOf(line);
}

function actionOf(line: LineShape): Outcome<Action> {
  const { verb, pattern, queue, stream, consumers, bucket, way } = line;
  switch (verb) {
    case "publish":
    case "request":
      return allowed({ verb, subject: pattern });
    case "respond":
    case "subscribe":
      return allowed({ verb, subject: pattern, ...(queue !== undefined && { queue }) });
    case "read-stream": {
      if (stream === undefined) return invalid(`lacks the stream; write "${VERB_FORMS[verb]}"`);
      const [consumer, ...others] = consumers ?? [];
      if (others.length > 0) return invalid("names several consumers; an action goes through one");
      return allowed({ verb, stream, subject: pattern, ...(consumer !== undefined && { consumer }) });
    }
    case "read-kv":
    case "write-kv":
      if (bucket === undefined) return invalid(`lacks the bucket; write "${VERB_FORMS[verb]}"`);
      return allowed({ verb, bucket, key: pattern });
    case "connect":
      if (way === undefined) return invalid(`lacks the way; write "${VERB_FORMS[verb]}"`);
      return allowed({ verb, way });
    case "read-audit":
    case "end-sessions":
    case "push-policy":
      return allowed({ verb });
  }
}

function invalid(why: string): Outcome<Action> {
  return refused({ reason: "request_invalid", what: "action", why });
}
