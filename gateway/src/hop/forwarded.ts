import { isIP } from "node:net";

/**
 * The last element of a header that each hop appends to: all before it is what the client, or an earlier hop, says.
 *
 * @param values  of all headers of the name, in order
 */
export function lastElementOf(values: readonly string[]): string | undefined {
  const last = values.at(-1)?.split(",").at(-1)?.trim();
  return last === "" ? undefined : last;
}

/**
 * An address as IIS writes it: `192.0.2.7:51234`, `[2001:db8::7]:51234`, or without its port.
 *
 * @returns the address without port, brackets and zone; undefined for anything else
 */
export function addressOf(element: string | undefined): string | undefined {
  if (element === undefined || element.length > ELEMENT_MAX) return undefined;
  const [, bracketed, plain] = /^(?:\[([^\]]+)\](?::\d{1,5})?|([0-9.]+)(?::\d{1,5})?)$/.exec(element) ?? [];
  const address = (bracketed ?? plain ?? element).replace(/%[A-Za-z0-9]{1,16}$/, "");
  return isIP(address) === 0 ? undefined : address;
}

/** An IPv6 address with brackets, zone and port. */
const ELEMENT_MAX = 72;

export function schemeOf(element: string | undefined): "http" | "https" | undefined {
  const scheme = element?.toLowerCase();
  return scheme === "http" || scheme === "https" ? scheme : undefined;
}
