import { randomUUID } from "node:crypto";
import type { Headers } from "./headers.ts";

/** What the handler knows of the connection that a request came by. */
export interface Client {
  readonly address: string;
  readonly port: number;
  readonly isTls: boolean;
  /** DER in base64, when the client showed a certificate. */
  readonly certificate?: string;
}

/**
 * What ASP.NET Core Module V2 does to the headers of a request (forwardinghandler.cpp, `GetHeaders`). It leaves
 * `Authorization` as it was, also when IIS signed somebody in by it.
 */
export function forwardAsAncm(
  headers: Headers,
  client: Client,
  {
    token,
    isWebSocket,
    forwardWindowsAuthToken,
  }: { readonly token: string; readonly isWebSocket: boolean; readonly forwardWindowsAuthToken: boolean },
): void {
  for (const name of headers.names()) if (/^ms-aspnetcore/i.test(name)) headers.delete(name);
  headers.set("MS-ASPNETCORE-TOKEN", token);
  if (forwardWindowsAuthToken) headers.set("MS-ASPNETCORE-WINAUTHTOKEN", "2fc");
  headers.append("X-Forwarded-For", addressOf(client));
  headers.append("X-Forwarded-Proto", client.isTls ? "https" : "http");
  if (client.certificate === undefined) headers.delete("MS-ASPNETCORE-CLIENTCERT");
  else headers.set("MS-ASPNETCORE-CLIENTCERT", client.certificate);
  // WinHTTP knows no extension of WebSocket.
  if (isWebSocket) headers.delete("Sec-WebSocket-Extensions");
  else headers.delete("Connection");
}

/** What the rewrite rule of a site says, as our generator writes it. */
export interface ArrRule {
  /** `HTTP_COUNTERSIGN_PROOF` */
  readonly proof?: string;
  /** Whether `HTTP_SEC_WEBSOCKET_EXTENSIONS` is emptied. */
  readonly removesExtensions: boolean;
}

/** URL Rewrite, at BeginRequest: a server variable that a rule sets takes the place of the client's header. */
export function rewriteAsArr(headers: Headers, client: Client, rule: ArrRule, url: string): void {
  headers.set("X-Forwarded-Proto", client.isTls ? "https" : "http");
  if (rule.proof !== undefined) headers.set("Countersign-Proof", rule.proof);
  if (rule.removesExtensions) headers.delete("Sec-WebSocket-Extensions");
  headers.set("X-Original-URL", url);
}

/**
 * What Application Request Routing adds. Whether it takes a client's own `X-ARR-ClientCert` away is not known, so here
 * it does not.
 *
 * @returns the id it gives the request
 */
export function forwardAsArr(headers: Headers, client: Client, forwardedFor = "X-Forwarded-For"): string {
  const logId = randomUUID();
  headers.append(forwardedFor, addressOf(client));
  headers.set("X-ARR-LOG-ID", logId);
  if (client.certificate !== undefined) headers.set("X-ARR-ClientCert", client.certificate);
  return logId;
}

function addressOf({ address, port }: Client): string {
  return `${address.includes(":") ? `[${address}]` : address}:${port}`;
}
