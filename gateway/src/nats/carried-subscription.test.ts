import assert from "node:assert/strict";
import { test } from "node:test";
import { CarriedSubscription } from "./carried-subscription.ts";
import type { InboundMessage, SubscribeOptions } from "./connection.ts";
import type { LinkReader, SubscribingLink } from "./link.ts";

/** A link that brings what the test says. */
class FakeLink implements SubscribingLink {
  #reader: LinkReader | undefined;
  left = 0;

  subscribe(_subject: string, _queue: string | undefined, reader: LinkReader): () => void {
    this.#reader = reader;
    return () => {
      this.left += 1;
    };
  }

  bring(...texts: readonly string[]): void {
    for (const text of texts) this.#reader?.take(messageOf(text));
  }

  refuse(): void {
    this.#reader?.refused();
  }
}

function messageOf(text: string): InboundMessage {
  return { subject: "orders.1", payload: Buffer.from(text), headers: [] };
}

function carried(over: Partial<SubscribeOptions> = {}) {
  const seen: string[] = [];
  const faults: unknown[] = [];
  const subscription = new CarriedSubscription(
    {
      subject: "orders.>",
      onMessage: ({ payload }) => seen.push(Buffer.from(payload).toString()),
      onEnd: (why) => seen.push(`ended ${why}`),
      ...over,
    },
    () => seen.push("over"),
    (error) => faults.push(error),
  );
  const [old, next] = [new FakeLink(), new FakeLink()];
  subscription.attach(old);
  return { subscription, old, next, seen, faults };
}

test("a handover delivers what both links bring once, in the old link's order", () => {
  const { subscription, old, next, seen } = carried();
  old.bring("1");
  subscription.join(next);
  old.bring("2", "3");
  next.bring("3", "4");
  subscription.leave();
  old.bring("4");
  next.bring("5");
  subscription.settle();
  next.bring("6");
  subscription.forget();
  assert.deepEqual(seen, ["1", "2", "3", "4", "5", "6"]);
  assert.equal(old.left, 1);
});

test("a handover drops what the old link brought and the new one brings only after it has taken over", () => {
  const { subscription, old, next, seen } = carried();
  subscription.join(next);
  old.bring("1", "2");
  subscription.settle();
  next.bring("1", "2", "3");
  subscription.forget();
  assert.deepEqual(seen, ["1", "2", "3"]);
});

test("equal messages are counted over a handover, not taken for one", () => {
  const { subscription, old, next, seen } = carried();
  subscription.join(next);
  old.bring("tick", "tick");
  next.bring("tick", "tick", "tick");
  subscription.settle();
  next.bring("tick");
  subscription.forget();
  assert.equal(seen.length, 4);
});

test("after forget() an equal message is a new one", () => {
  const { subscription, old, next, seen } = carried();
  subscription.join(next);
  old.bring("tick");
  subscription.settle();
  subscription.forget();
  next.bring("tick");
  assert.deepEqual(seen, ["tick", "tick"]);
});

test("a handover given up leaves everything with the old link", () => {
  const { subscription, old, next, seen } = carried();
  subscription.join(next);
  old.bring("1");
  next.bring("1");
  subscription.unjoin();
  next.bring("2");
  old.bring("2");
  assert.deepEqual(seen, ["1", "2"]);
  assert.deepEqual([old.left, next.left], [0, 1]);
});

test("in a queue group both links deliver at once, since no message comes on both", () => {
  const { subscription, old, next, seen } = carried({ queue: "workers" });
  subscription.join(next);
  old.bring("tick");
  next.bring("tick");
  subscription.settle();
  assert.deepEqual(seen, ["tick", "tick"]);
});

test("a handover that holds back too much ends the subscription rather than leave a gap", () => {
  const { subscription, next, seen } = carried();
  subscription.join(next);
  const large = "x".repeat(1024 * 1024);
  for (let index = 0; index < 17; index++) next.bring(large);
  assert.deepEqual(seen, ["over", "ended closed"]);
});

test("a reader that throws ends its own subscription, is reported, and hears no more", () => {
  const { old, seen, faults } = carried({
    onMessage: () => {
      throw new Error("a mistake of ours");
    },
  });
  old.bring("1", "2");
  assert.deepEqual(seen, ["over", "ended closed"]);
  assert.equal(faults.length, 1);
});

test("a subscription that nats-server refuses later ends with refused, once, and end() is silent", () => {
  const { old, seen, subscription } = carried();
  old.refuse();
  subscription.end();
  subscription.endBecause("closed");
  old.bring("1");
  assert.deepEqual(seen, ["over", "ended refused"]);
});
