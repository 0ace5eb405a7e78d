import { GatewayError } from "../errors.ts";

/** A quoted string of the configuration language. Windows reads forward slashes too, and they need no escaping. */
export function quote(value: string): string {
  const text = process.platform === "win32" ? value.replaceAll("\\", "/") : value;
  if (/["\\\p{Cc}]/u.test(text)) {
    throw new GatewayError(
      "CONFIG_INVALID",
      `Cannot write ${JSON.stringify(value)} into a nats-server configuration: it holds a quotation mark, a ` +
        "backslash or a control character.",
    );
  }
  return `"${text}"`;
}
