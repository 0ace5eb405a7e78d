import type { Arrived } from "../hop.ts";

/** A request as node:http gives it, of these headers: name, value, name, value. */
export function arrived(
  rawHeaders: readonly string[],
  {
    method = "POST",
    remoteAddress = "127.0.0.1",
    authorized,
  }: { readonly method?: string; readonly remoteAddress?: string; readonly authorized?: boolean } = {},
): Arrived {
  const headers: Record<string, string> = {};
  for (let at = 0; at < rawHeaders.length; at += 2)
    headers[rawHeaders[at]?.toLowerCase() ?? ""] = rawHeaders[at + 1] ?? "";
  const socket = {
    remoteAddress,
    ...(authorized !== undefined && { authorized }),
  } as unknown as Arrived["socket"];
  return { rawHeaders: [...rawHeaders], headers, method, socket };
}
