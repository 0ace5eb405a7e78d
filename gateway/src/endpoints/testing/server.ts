import assert from "node:assert/strict";
import type { FastifyInstance } from "fastify";
import { createEndpointServer, type EndpointServerOptions } from "../server.ts";

/** A server as the gateway makes it, with small limits; a fault of ours fails the test unless it is asked for. */
export function testServer(options: Partial<EndpointServerOptions> = {}): FastifyInstance {
  return createEndpointServer({
    publicUrl: "https://gateway.example",
    origins: new Set(["https://gateway.example"]),
    lane: "http",
    limits: {
      bodyBytesMax: 1_024,
      headerBytesMax: 8_192,
      headersTimeoutMs: 10_000,
      requestTimeoutMs: 30_000,
      keepAliveTimeoutMs: 10_000,
      connectionsMax: 100,
    },
    clock: () => 1_000,
    onFault: (error) => assert.fail(String(error)),
    ...options,
  });
}
