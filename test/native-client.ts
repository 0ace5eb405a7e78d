import type { DemoUserId } from "@countersign/devstack/demo-users.ts";
import { type ConnectionOptions, type NatsConnection, wsconnect } from "@nats-io/nats-core";
import type { TestStack } from "./support.ts";

/** Where the native protocol is spoken. */
export function nativeUrl({ gatewayUrl }: TestStack): string {
  return `${gatewayUrl.replace(/^http/, "ws")}/v1/nats`;
}

/** A stock client under a bearer token, which goes where nats.js puts one: into CONNECT. */
export async function connectNative(
  stack: TestStack,
  who: DemoUserId | "inventory",
  options: Partial<ConnectionOptions> = {},
): Promise<NatsConnection> {
  const token = stack.token(who);
  return await wsconnect({ servers: nativeUrl(stack), token, reconnect: false, ...options });
}
