/** What a `-ERR 'Permissions Violation for …'` of nats-server refuses. */
export interface Denied {
  readonly operation: "publish" | "subscribe";
  readonly subject: string;
}

/**
 * Reads the text of a permissions violation. nats-server writes the subject as Go's `%q` does, with escapes,
 * which nats-core does not undo.
 *
 * @source nats-server server/client.go, pubPermissionViolation and subPermissionViolation
 */
export function deniedOf(text: string): Denied | undefined {
  const found = /^'?Permissions Violation for (Publish|Subscription) to ("(?:[^"\\]|\\.)*")/.exec(text);
  const quoted = found?.[2];
  if (quoted === undefined) return undefined;
  return { operation: found?.[1] === "Publish" ? "publish" : "subscribe", subject: unquote(quoted) };
}

const SHORT: Readonly<Record<string, string>> = {
  a: "\x07",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
};

/** @source https://pkg.go.dev/strconv#Quote */
function unquote(quoted: string): string {
  return quoted
    .slice(1, -1)
    .replace(
      /\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8})|(.))/g,
      (_, byte?: string, short?: string, long?: string, other?: string) => {
        const hex = byte ?? short ?? long;
        if (hex !== undefined) return String.fromCodePoint(Math.min(Number.parseInt(hex, 16), 0x10ffff));
        return SHORT[other ?? ""] ?? other ?? "";
      },
    );
}
