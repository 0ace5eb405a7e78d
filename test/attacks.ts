import assert from "node:assert/strict";
import { join } from "node:path";
import { type JetStreamManager, jetstream, jetstreamManager } from "@nats-io/jetstream";
import { type KV, Kvm } from "@nats-io/kv";
import { loadNatsKeys } from "countersign/credentials/nats-keys.ts";
import { createNkey } from "countersign/credentials/nkey.ts";
import { mintCredential } from "countersign/credentials/user.ts";
import type { Identity } from "countersign/identity/identity.ts";
import { compileGrant } from "countersign/policy/compile.ts";
import { parsePolicy } from "countersign/policy/parse.ts";
import { permissionsOf } from "countersign/policy/permissions.ts";
import type { TestStack } from "./support.ts";
import { connectByHand } from "./wire-client.ts";

/** What the attacks need to be granted; nothing of it is what they reach for. */
export const ATTACKED = `
      - publish orders.{region}.>
      - publish ev.{user}.>
      - 'read-stream ORDERS orders.{region}.> consumers [billing]'
      - read-kv carts {user}.>
      - write-kv carts {user}.>`;

/** Says something in the NATS protocol as alice. @returns what was refused, once all of it was processed */
export type Attacker = (text: string) => Promise<string>;

export interface Attack {
  readonly name: string;
  readonly prepare?: () => Promise<unknown>;
  /** @param api  under which name the attacker finds JetStream */
  readonly text: (api: string) => string;
  /** Whether it had the effect it is meant to have. */
  readonly succeeded: () => boolean | Promise<boolean>;
  /** What the gateway says to the attacker; absent: it makes it harmless, and says nothing. */
  readonly refusal?: RegExp;
}

/** An account with a stream, a bucket, a scheduling stream, and a listener on what nobody else may publish to. */
export interface Victim {
  readonly attacks: readonly Attack[];
  readonly run: (attack: Attack, attacker: Attacker, api?: string) => Promise<string>;
  /** Fulfils when all that an attack may have set in motion has been followed by answers to questions of our own. */
  readonly settled: () => Promise<void>;
}

export async function openVictim(stack: TestStack): Promise<Victim> {
  const manager = await jetstreamManager(stack.admin);
  const carts = await new Kvm(stack.admin).create("carts", { history: 5 });
  await manager.streams.add({ name: "EV", subjects: ["ev.>"], allow_msg_schedules: true });
  const config = { durable_name: "demo-alice-billing", filter_subject: "orders.eu.>" };
  await manager.consumers.add("ORDERS", { ...config, ack_policy: "explicit", max_deliver: 1 });
  const heard: string[] = [];
  // A consumer pushes only where somebody listens to that subject itself.
  for (const subject of ["admin.>", "admin.pushed"]) {
    stack.admin.subscribe(subject, {
      callback: (_, msg) => void heard.push(`${msg.subject} ${msg.string()}`),
    });
  }
  await stack.admin.flush();
  let round = 0;
  return {
    attacks: attacksOn({ stack, manager, carts, heard, round: () => round }),
    async run({ prepare, text }, attacker, api = "$JS.API") {
      round += 1;
      await prepare?.();
      const said = await attacker(text(api));
      await stack.admin.flush();
      return said;
    },
    async settled() {
      await stack.admin.request("inventory.check", "{}");
      for (const stream of ["ORDERS", "KV_carts", "EV"]) await manager.streams.info(stream);
      await carts.get("demo-alice.x");
      await stack.admin.flush();
    },
  };
}

/** Past the gateway, inside the account: no proxy is asked for, all else is what the gateway would be given. */
export function attackInside(stack: TestStack, policy: string): Attacker {
  return async (text) => {
    const keys = await loadNatsKeys(join(stack.stateDir, "nats"));
    const now = Date.now() / 1000;
    const identity: Identity = {
      ...{ user: "demo-alice", issuer: "demo", id: "alice", kind: "user" },
      attributes: { groups: ["Orders.Clerks"], region: ["eu"] },
      proof: { kind: "bearer", hash: "a".repeat(43) },
      ...{ provedAt: now, expiresAt: now + 600 },
    };
    const parsed = parsePolicy([{ path: "policy.yaml", text: policy }]);
    assert(parsed.ok);
    const grant = compileGrant(parsed.policy, identity, now);
    const inboxPrefix = "_INBOX.alice";
    const userKey = createNkey("user");
    const minted = mintCredential({
      ...{ identity, grant, now, inboxPrefix, controlLineBytesMax: 1_000_000 },
      permissions: permissionsOf(grant, inboxPrefix),
      userPublicKey: userKey.publicKey,
      signer: { accountPublicKey: keys.account, signingKey: keys.signingKey },
      dangerouslyWithoutTrustedProxy: true,
    });
    assert(minted.ok);
    const client = await connectByHand(stack.nats.url, minted.value.jwt, userKey);
    client.send(text.replace(/\r\n$/, ""));
    const { errors } = await client.flush();
    client.close();
    return errors.join();
  };
}

export function pub(subject: string, reply: string, payload = ""): string {
  return `PUB ${subject} ${reply === "" ? "" : `${reply} `}${payload.length}\r\n${payload}\r\n`;
}

function hpub(subject: string, headers: Readonly<Record<string, string>>, payload = "x"): string {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  const block = `NATS/1.0\r\n${lines.join("")}\r\n`;
  return `HPUB ${subject} ${block.length} ${block.length + payload.length}\r\n${block}${payload}\r\n`;
}

const OWN_INBOX_ONLY = /-ERR 'Permissions Violation for Publish with Reply of "admin\.[a-z]+"'/;

function attacksOn({
  stack,
  manager,
  carts,
  heard,
  round,
}: {
  readonly stack: TestStack;
  readonly manager: JetStreamManager;
  readonly carts: KV;
  readonly heard: readonly string[];
  /** Of the attack that runs. */
  readonly round: () => number;
}): readonly Attack[] {
  const isHeard = (what: string) => (): boolean => heard.some((one) => one.startsWith(what));
  return [
    {
      name: "a value of one's own is published to a foreign subject, as the answer of a direct get",
      prepare: () => carts.put("demo-alice.x", "void the payment"),
      text: (api) => pub(`${api}.DIRECT.GET.KV_carts.$KV.carts.demo-alice.x`, "admin.get"),
      succeeded: isHeard("admin.get void the payment"),
      refusal: OWN_INBOX_ONLY,
    },
    {
      name: "a message is published to a foreign subject, as what a consumer delivers",
      prepare: () => jetstream(stack.admin).publish("orders.eu.1", "void the order"),
      text: (api) => pub(`${api}.CONSUMER.MSG.NEXT.ORDERS.demo-alice-billing`, "admin.next", "1"),
      // It comes under the subject it was stored under.
      succeeded: isHeard("orders.eu.1 void the order"),
      refusal: OWN_INBOX_ONLY,
    },
    {
      name: "an acknowledgement of a stream is published to a foreign subject",
      text: () => pub("orders.eu.1", "admin.ack"),
      succeeded: isHeard("admin.ack"),
      refusal: OWN_INBOX_ONLY,
    },
    {
      name: "a consumer pushes what its maker may read to a foreign subject",
      prepare: () => carts.put("demo-alice.push", "pushed"),
      text: (api) =>
        pub(
          `${api}.CONSUMER.CREATE.KV_carts.demo-alice-0.$KV.carts.demo-alice.push`,
          "_INBOX.mine.1",
          JSON.stringify({
            stream_name: "KV_carts",
            config: {
              name: "demo-alice-0",
              filter_subject: "$KV.carts.demo-alice.push",
              deliver_subject: "admin.pushed",
              ack_policy: "none",
            },
          }),
        ),
      succeeded: isHeard("$KV.carts.demo-alice.push pushed"),
      refusal: /delivers elsewhere than to the client's own inbox/,
    },
    {
      name: "a bucket is emptied, everybody's keys in it, by a rollup of one's own key",
      prepare: () => carts.put("demo-bob.a", "of bob"),
      text: () => hpub("$KV.carts.demo-alice.x", { "Nats-Rollup": "all" }),
      succeeded: async () => (await carts.get("demo-bob.a")) === null,
      refusal: /-ERR 'Permissions Violation for Publish to "\$KV\.carts\.demo-alice\.x"'/,
    },
    {
      name: "another's message is taken for a duplicate and dropped, since its id was used before",
      text: () => hpub("orders.eu.2", { "Nats-Msg-Id": `bob-${round()}` }),
      succeeded: async () =>
        (await jetstream(stack.admin).publish("orders.us.1", "of bob", { msgID: `bob-${round()}` }))
          .duplicate,
    },
    {
      name: "a message is published to a foreign subject, by a schedule",
      text: () =>
        hpub("ev.demo-alice.plan", {
          "Nats-Schedule": `@at ${new Date(Date.now() - 1_000).toISOString()}`,
          "Nats-Schedule-Target": "ev.demo-bob.sched",
        }),
      succeeded: async () =>
        (await manager.streams.getMessage("EV", { last_by_subj: "ev.demo-bob.sched" })) !== null,
      refusal: /-ERR 'Permissions Violation for Publish to "ev\.demo-alice\.plan"'/,
    },
  ];
}
