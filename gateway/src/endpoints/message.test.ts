import assert from "node:assert/strict";
import { test } from "node:test";
import { payloadDigest } from "@countersign/seal";
import type { FastifyRequest } from "fastify";
import type { Message } from "../prepare.ts";
import { allowed, type Outcome } from "../refusal.ts";
import { askOf, readMessage } from "./message.ts";

const TXN = "01a20c69-d43b-7398-ba57-ca56bb159996";

function requestOf(rawHeaders: readonly string[], body?: unknown): FastifyRequest {
  const facts = { txn: TXN, requestId: TXN, lane: "http" };
  return { raw: { rawHeaders }, body, facts } as unknown as FastifyRequest;
}

function read(rawHeaders: readonly string[], body?: unknown, subject?: string): Outcome<Message> {
  return readMessage(requestOf(rawHeaders, body), subject ?? "lab.a", () => 1_000);
}

test("readMessage() takes the body's bytes and the headers that travel, and nothing else", () => {
  const body = Buffer.from("hello");
  const message = read(["Host", "a", "Msg-Priority", "high", "Authorization", "Bearer x"], body);
  assert(message.ok);
  const { facts, payload, headers, traceparent } = message.value;
  const { id, ...rest } = facts;
  assert.deepEqual(rest, { subject: "lab.a", bytes: 5, digest: payloadDigest(body) });
  assert.deepEqual([payload, headers], [body, [["priority", "high"]]]);
  const span = id.replaceAll("-", "").slice(-16);
  assert.equal(traceparent, `00-${TXN.replaceAll("-", "")}-${span}-00`);
});

test("readMessage() takes a request without a body for a message without a payload", () => {
  for (const body of [undefined, null, "text", {}]) {
    const message = read([], body);
    assert.equal(message.ok && message.value.payload.length, 0);
  }
});

test("askOf() asks for the action on the message's subject, and hands on what was refused", () => {
  const request = requestOf([]);
  const presented = allowed({ proofs: [] } as never);
  const message = read([]);
  assert(message.ok);
  assert.deepEqual(askOf("request", presented, message, request), {
    presented,
    action: allowed({ verb: "request", subject: "lab.a" }),
    message: message.value.facts,
    facts: request.facts,
  });
  const refused = read([], undefined, "lab.*");
  assert.deepEqual(askOf("publish", presented, refused, request), {
    presented,
    action: refused,
    facts: request.facts,
  });
});
