import { setBounded } from "../../bounded-map.ts";
import { consumerName } from "../../policy/consumer.ts";
import type { GrantLine } from "../../policy/grant.ts";
import { faultOfSubject } from "../headers.ts";
import { type ConsumerView, readConsumerInfo, shownInfo } from "./consumer-info.ts";
import type { HeldConsumer, Listener } from "./consumer-names.ts";
import { type ConsumerRequest, readConsumerRequest } from "./consumer-request.ts";
import type { JetStreamJudgeParts, JetStreamPublish, JetStreamVerdict, OnReply } from "./jetstream.ts";
import { JS_ERRORS, type JsType, jsError } from "./js-answer.ts";
import type { JsRequest } from "./js-request.ts";
import { createNumbered, tooMany } from "./numbered-consumer.ts";
import { readAck, readPull } from "./pull-request.ts";
import { decideFilter, decideReading, type Reading, readingAction } from "./reading.ts";
import type { Store } from "./store.ts";
import { answer, type Forward, forward, invalid, NOTHING, notGranted, refuse } from "./verdicts.ts";

type ConsumerAsk = Extract<
  JsRequest,
  {
    readonly ask:
      | "consumer-create"
      | "consumer-info"
      | "consumer-delete"
      | "consumer-next"
      | "ack"
      | "flow-control";
  }
>;

/** A consumer of this identity, by whichever name the client knows it. */
interface Known {
  /** What NATS calls it. */
  readonly name: string;
  readonly clientName: string;
  readonly line: GrantLine;
  /** A declared one's name in the policy. */
  readonly declared?: string;
  /** A numbered one, and who holds it. */
  readonly held?: HeldConsumer;
}

export interface ConsumerJudge {
  judge(request: ConsumerAsk, publish: JetStreamPublish): JetStreamVerdict;
  /** See `JetStreamJudge`. */
  listens(subject: string): void;
}

/** Consumers of one connection that are made and not yet listened to; clients do that at once. */
const EXPECTED_MAX = 256;

/** Judges everything about consumers: their making, what is asked of them, and the answers to what they delivered. */
export function createConsumerJudge(
  { grant, inbox, names, subscribed }: JetStreamJudgeParts,
  stores: ReadonlyMap<string, Store>,
): ConsumerJudge {
  const expected = new Map<string, Listener>();

  function judgeCreate(
    store: Store,
    asked: { readonly stream: string; readonly name?: string; readonly filter?: string },
    publish: JetStreamPublish,
  ): JetStreamVerdict {
    const read = readConsumerRequest(publish.payload, asked);
    if (!read.ok) return refuse(publish, read.refusal, "consumer_create");
    const declared = declaredName(store, read.value.name);
    const reading = decideReading(grant, store, read.value.filters, declared);
    if (!reading.ok) return refuse(publish, reading.refusal, "consumer_create");
    return declared === undefined
      ? createOwn(store, read.value, reading.value, publish)
      : createDeclared(store, declared, read.value, reading.value, publish);
  }

  /** A declared consumer keeps the settings its client gives it, and may be durable. */
  function createDeclared(
    store: Store,
    declared: string,
    request: ConsumerRequest,
    { action, line, filter }: Reading,
    publish: JetStreamPublish,
  ): JetStreamVerdict {
    if (request.deliverSubject !== undefined) {
      return refuse(publish, invalid("pushes a declared consumer; pull from it"), "consumer_create");
    }
    const name = consumerName(grant.user, declared);
    const config = {
      ...request.settings,
      name,
      ...(request.isDurable && { durable_name: name }),
      filter_subject: filter,
    };
    const payload = Buffer.from(
      JSON.stringify({ stream_name: store.stream, action: request.action, config }),
    );
    const subject = `$JS.API.CONSUMER.CREATE.${store.stream}.${name}.${filter}`;
    const known = { name, clientName: request.name ?? name, line, declared };
    return { ...forward(subject, payload, { action, line }), onReply: showing(store, known) };
  }

  function createOwn(
    store: Store,
    request: ConsumerRequest,
    { action, line, filter }: Reading,
    publish: JetStreamPublish,
  ): JetStreamVerdict {
    if (request.isDurable) {
      return refuse(publish, invalid("makes durable what the policy does not name"), "consumer_create");
    }
    const asked = request.deliverSubject;
    const deliverSubject = asked === undefined ? undefined : ownInbox(asked);
    if (asked !== undefined && deliverSubject === undefined) {
      return refuse(publish, invalid("delivers elsewhere than to the client's own inbox"), "consumer_create");
    }
    if (asked === undefined && store.bucket !== undefined) {
      return refuse(publish, invalid("pulls from a bucket; watch it instead"), "consumer_create");
    }
    const step = createNumbered({
      stream: store.stream,
      request,
      filter,
      ...(deliverSubject !== undefined && { deliverSubject }),
      names,
      view: viewOf(store, undefined),
      ...(asked !== undefined && { listener: expect(asked) }),
    });
    if (!step) {
      const max = grant.limits.connections;
      const refused = refuse(publish, { reason: "capacity_exceeded", what: "numbered consumers", max });
      return { ...refused, payload: tooMany() } as JetStreamVerdict;
    }
    return { ...forward(step.subject, step.payload, { action, line }), onReply: step.onReply };
  }

  function judgeInfo(store: Store, known: Known): JetStreamVerdict {
    const subject = `$JS.API.CONSUMER.INFO.${store.stream}.${known.name}`;
    return { ...of(store, known, subject, NOTHING), onReply: showing(store, known) };
  }

  function judgeDelete(store: Store, known: Known, publish: JetStreamPublish): JetStreamVerdict {
    if (!known.held)
      return refuse(publish, invalid("deletes a consumer that the policy names"), "consumer_delete");
    names.release(store.stream, known.clientName);
    return of(store, known, `$JS.API.CONSUMER.DELETE.${store.stream}.${known.name}`, NOTHING);
  }

  function judgeNext(store: Store, known: Known, publish: JetStreamPublish): JetStreamVerdict {
    const pull = readPull(publish.payload);
    if (!pull.ok) return refuse(publish, pull.refusal);
    const { reply } = publish;
    if (known.held && reply !== undefined) {
      known.held.listener = { isThere: () => subscribed(reply), wasThere: true };
    }
    return of(store, known, `$JS.API.CONSUMER.MSG.NEXT.${store.stream}.${known.name}`, pull.value);
  }

  /** What a consumer delivered is answered by the name NATS knows it by: that stands in the message's reply subject. */
  function judgeDelivered(
    store: Store,
    ask: "ack" | "flow-control",
    consumer: string,
    publish: JetStreamPublish,
  ): JetStreamVerdict {
    const known = ownByName(store, consumer);
    // A bucket's messages are read without being acknowledged; a declared consumer is not pushed to.
    const fits = ask === "ack" ? store.bucket === undefined : known?.declared === undefined;
    if (!known || !fits) return notGranted(publish);
    if (ask === "flow-control") return of(store, known, publish.subject, NOTHING);
    const ack = readAck(publish.payload);
    return ack.ok ? of(store, known, publish.subject, ack.value) : refuse(publish, ack.refusal);
  }

  function of(store: Store, { line, declared }: Known, subject: string, payload: Uint8Array): Forward {
    return forward(subject, payload, {
      action: readingAction(store, store.prefix + line.pattern, declared),
      line,
    });
  }

  function find(store: Store, clientName: string): Known | undefined {
    const declared = declaredName(store, clientName);
    if (declared !== undefined) {
      const [line] = store.declared.get(declared) ?? [];
      return line && { name: consumerName(grant.user, declared), clientName, line, declared };
    }
    const held = names.find(store.stream, clientName);
    const [line] = store.numbered;
    return held && line && { name: held.name, clientName, line, held };
  }

  /** By the name NATS knows it by: any of the identity's own, whoever of its connections holds it. */
  function ownByName(store: Store, name: string): Known | undefined {
    const short = name.slice(grant.user.length + 1);
    if (name !== consumerName(grant.user, short)) return undefined;
    const [line] = store.declared.get(short) ?? [];
    if (line) return { name, clientName: name, line, declared: short };
    const [numbered] = store.numbered;
    const isNumber = /^(?:0|[1-9]\d{0,5})$/.test(short) && Number(short) < grant.limits.connections;
    return numbered && isNumber ? { name, clientName: name, line: numbered } : undefined;
  }

  /** The name that the policy declares, where the client says that or the whole of it. */
  function declaredName(store: Store, name: string | undefined): string | undefined {
    if (name === undefined || store.declared.has(name)) return name;
    return [...store.declared.keys()].find((declared) => name === consumerName(grant.user, declared));
  }

  /** Its client will listen there. */
  function expect(subject: string): Listener {
    const listener = { isThere: () => subscribed(subject), wasThere: false };
    setBounded(expected, subject, listener, EXPECTED_MAX);
    return listener;
  }

  function ownInbox(subject: string): string | undefined {
    return faultOfSubject(subject) === undefined ? inbox.toServer(subject) : undefined;
  }

  function viewOf(store: Store, declared: string | undefined): Omit<ConsumerView, "clientName"> {
    return {
      toClient: inbox.toClient,
      mayRead: (filter) => decideFilter(grant, store, filter || ">", declared).ok,
    };
  }

  function showing(store: Store, known: Known): OnReply {
    return (reply) => {
      const info = readConsumerInfo(reply);
      if (!info) return { do: "pass" };
      if (!info.error) {
        return shownInfo(info, { ...viewOf(store, known.declared), clientName: known.clientName });
      }
      const isGone = info.error.err_code === JS_ERRORS.consumerNotFound.err_code;
      if (isGone && known.held) names.release(store.stream, known.clientName);
      return { do: "pass" };
    };
  }

  function judge(request: ConsumerAsk, publish: JetStreamPublish): JetStreamVerdict {
    const store = stores.get(request.stream);
    const isReadable = store && (store.numbered.length > 0 || store.declared.size > 0);
    if (!store || !isReadable) return notGranted(publish);
    if (request.ask === "consumer-create") return judgeCreate(store, request, publish);
    if ("consumer" in request) return judgeDelivered(store, request.ask, request.consumer, publish);
    const known = find(store, request.name);
    if (!known) return unknown(request.ask, publish);
    if (request.ask === "consumer-info") return judgeInfo(store, known);
    if (request.ask === "consumer-delete") return judgeDelete(store, known, publish);
    return store.bucket === undefined ? judgeNext(store, known, publish) : notGranted(publish);
  }

  return {
    judge,
    listens(subject) {
      const listener = expected.get(subject);
      if (!listener) return;
      listener.wasThere = true;
      expected.delete(subject);
    },
  };
}

/** A name that stands for nothing: nobody's, or one this instance has forgotten. Clients then create it anew. */
function unknown(
  ask: "consumer-info" | "consumer-delete" | "consumer-next",
  { subject }: JetStreamPublish,
): JetStreamVerdict {
  // Nobody responds where there is no such consumer to pull from.
  if (ask === "consumer-next") return answer(`publish ${subject}`, NOTHING, 503);
  const type: JsType = ask === "consumer-info" ? "consumer_info" : "consumer_delete";
  return answer(`publish ${subject}`, jsError(type, JS_ERRORS.consumerNotFound));
}
