import { type Json, type JsonObject, parseStrictJson } from "../../identity/strict-json.ts";
import type { Action } from "../../policy/action.ts";
import { decide } from "../../policy/decide.ts";
import { hasWildcard } from "../../policy/pattern.ts";
import { sealScopeOf } from "../../policy/scope.ts";
import type { Outcome } from "../../refusal.ts";
import { createConsumerJudge } from "./consumer-judge.ts";
import type { JetStreamJudge, JetStreamJudgeParts, JetStreamPublish, JetStreamVerdict } from "./jetstream.ts";
import { type JsRequest, parseJsRequest } from "./js-request.ts";
import { judgeNatsHeaders } from "./publish-headers.ts";
import { storesOf } from "./store.ts";
import { storedMessage } from "./stored-message.ts";
import { accountInfo, streamInfo, streamList, streamNames } from "./stream-answers.ts";
import { answer, type Forward, forward, invalid, NOTHING, notGranted, refuse } from "./verdicts.ts";

/** Longest payload of a question about streams: a subject and little more. */
const QUESTION_BYTES_MAX = 4_096;
/** What a seal can name; a key is judged by itself, without its bucket. */
const SUBJECT_CHARACTERS_MAX = 256;

/**
 * Judges what a stock client asks of JetStream, and turns it into what the identity's permissions allow: an own name
 * and a filter for every consumer, questions about streams answered from the Grant, nothing passed on that was not
 * understood. nats-server enforces the same Grant behind it; what only this filter stops are the ways around
 * permissions: answers sent to other people's subjects, and headers that act beyond the subject.
 */
export function createJetStreamJudge(parts: JetStreamJudgeParts): JetStreamJudge {
  const { grant } = parts;
  const stores = storesOf(grant);
  const consumers = createConsumerJudge(parts, stores);

  function judgeRequest(request: JsRequest, publish: JetStreamPublish): JetStreamVerdict {
    switch (request.ask) {
      case "account-info":
        return answer("account-info", accountInfo());
      case "stream-names":
      case "stream-list":
        return judgeFinding(request.ask, publish);
      case "stream-info": {
        const store = stores.get(request.stream);
        return store ? answer(`stream-info ${request.stream}`, streamInfo(store)) : notGranted(publish);
      }
      case "direct-get":
        return judgeDirectGet(request, publish);
      case "message-get":
        return judgeMessageGet(request.stream, publish);
      case "kv-write":
        return judgeWrite(request.bucket, request.key, publish);
      default:
        return consumers.judge(request, publish);
    }
  }

  function judgeFinding(ask: "stream-names" | "stream-list", publish: JetStreamPublish): JetStreamVerdict {
    const question = readQuestion(publish.payload);
    const subject = question?.subject;
    if (!question || (subject !== undefined && typeof subject !== "string")) {
      return refuse(publish, invalid("expected nothing, or a JSON object with a subject"), "stream_names");
    }
    const found = ask === "stream-names" ? streamNames : streamList;
    // Without one, or with an empty one, all that are there are meant.
    return answer(ask, found(stores.values(), subject || undefined));
  }

  function judgeDirectGet(
    { stream, subject }: { readonly stream: string; readonly subject?: string },
    publish: JetStreamPublish,
  ): JetStreamVerdict {
    const asked = subject ?? lastSubjectIn(publish.payload);
    const get = asked === undefined ? undefined : decideGet(stream, asked);
    if (!get) return refuse(publish, invalid("gets by something else than one key"));
    return get.ok ? get.value : refuse(publish, get.refusal);
  }

  function judgeMessageGet(stream: string, publish: JetStreamPublish): JetStreamVerdict {
    const asked = lastSubjectIn(publish.payload);
    const get = asked === undefined ? undefined : decideGet(stream, asked);
    if (!get) {
      const why = "gets by something else than last_by_subj with one key of a bucket";
      return refuse(publish, invalid(why), "stream_msg_get");
    }
    return get.ok ? { ...get.value, onReply: storedMessage } : refuse(publish, get.refusal);
  }

  /** @returns undefined where there is no bucket to get from, or not one key to get */
  function decideGet(stream: string, subject: string): Outcome<Forward> | undefined {
    const store = stores.get(stream);
    if (store?.bucket === undefined || !subject.startsWith(store.prefix)) return undefined;
    const key = subject.slice(store.prefix.length);
    if (hasWildcard(key)) return undefined;
    const action: Action = { verb: "read-kv", bucket: store.bucket, key };
    const decided = decide(grant, action);
    if (!decided.ok) return decided;
    const getting = `$JS.API.DIRECT.GET.${stream}.${subject}`;
    return { ok: true, value: forward(getting, NOTHING, { action, line: decided.value }) };
  }

  function judgeWrite(bucket: string, key: string, publish: JetStreamPublish): JetStreamVerdict {
    const action: Action = { verb: "write-kv", bucket, key };
    const decided = decide(grant, action);
    if (!decided.ok) return refuse(publish, decided.refusal);
    if (publish.subject.length > SUBJECT_CHARACTERS_MAX) {
      return refuse(publish, invalid(`writes under a subject of more than ${SUBJECT_CHARACTERS_MAX} bytes`));
    }
    const headers = judgeNatsHeaders(publish.headers, "bucket");
    if (!headers.ok) return refuse(publish, headers.refusal);
    const { subject, payload } = publish;
    const { idempotencyKey } = headers.value;
    const line = decided.value;
    const scope = sealScopeOf(line);
    const seal = { scope, ...(idempotencyKey !== undefined && { idempotencyKey }) };
    return { ...forward(subject, payload, { action, line }), headers: headers.value.headers, seal };
  }

  return {
    listens: consumers.listens,
    judge(publish) {
      const request = parseJsRequest(publish.subject);
      if (!request) return notGranted(publish);
      const needsReply =
        request.ask !== "kv-write" && request.ask !== "ack" && request.ask !== "flow-control";
      if (needsReply && publish.reply === undefined) {
        return refuse(publish, invalid("asks without a reply subject"));
      }
      return judgeRequest(request, publish);
    },
  };
}

/** A question's payload: nothing, or a JSON object. @returns undefined for anything else */
function readQuestion(payload: Uint8Array): JsonObject | undefined {
  if (payload.length === 0) return {};
  return payload.length > QUESTION_BYTES_MAX
    ? undefined
    : parseStrictJson(Buffer.from(payload).toString("utf8"));
}

/** The subject whose last message is asked for, and nothing else. */
function lastSubjectIn(payload: Uint8Array): string | undefined {
  const question = readQuestion(payload);
  const asked: Json | undefined = question?.last_by_subj;
  return question && Object.keys(question).length === 1 && typeof asked === "string" ? asked : undefined;
}
