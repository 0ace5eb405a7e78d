import type { Asked } from "./asked.ts";

/** What nats-server writes when it refuses, word by word: clients find the message or subscription by it. */

export function errLine(text: string): string {
  return `-ERR '${text}'\r\n`;
}

/** @source nats-server server/client.go, pubPermissionViolation */
export function publishViolation(subject: string): string {
  return errLine(`Permissions Violation for Publish to ${quoted(subject)}`);
}

/** @source nats-server server/client.go, replySubjectViolation */
export function replyViolation(reply: string): string {
  return errLine(`Permissions Violation for Publish with Reply of ${quoted(reply)}`);
}

/** @source nats-server server/client.go, subPermissionViolation */
export function subscriptionViolation({ subject, queue }: Pick<Asked, "subject" | "queue">): string {
  const group = queue === undefined ? "" : ` using queue ${quoted(queue)}`;
  return errLine(`Permissions Violation for Subscription to ${quoted(subject)}${group}`);
}

/** Go's `%q`, of which a client sees the plain part only; everything else is escaped, and nothing can end the line. */
function quoted(text: string): string {
  const escaped = text.replace(/["\\]|[^\x20-\x7e]/g, (found) =>
    found === '"' || found === "\\"
      ? `\\${found}`
      : `\\x${found.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );
  return `"${escaped}"`;
}
