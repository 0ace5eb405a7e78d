/**
 * The same in a real browser: a page that is signed in speaks NATS with the unmodified client, under nothing but its
 * session cookie.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { findChromium, NO_CHROMIUM } from "@countersign/devstack/chromium.ts";
import { TRUST_DOMAIN } from "@countersign/devstack/stack.ts";
import { createVerifier, remoteKeySet } from "@countersign/seal";
import { Kvm } from "@nats-io/kv";
import type { NatsConnection, wsconnect } from "@nats-io/nats-core";
import { build } from "esbuild";
import { type Browser, chromium, type Page } from "playwright-core";
import { nativeUrl } from "./native-client.ts";
import { startTestStack, type TestStack } from "./support.ts";

const POLICY = `
version: 1
roles:
  everybody:
    given-to: [ { issuer: demo, groups: Orders.Clerks } ]
    may:
      - connect native
      - publish lab.>
      - subscribe lab.>
      - subscribe work.> queue workers
      - publish work.>
      - request inventory.check
      - publish orders.{region}.>
      - read-stream ORDERS orders.{region}.>
      - read-kv carts {user}.>
      - write-kv carts {user}.>
    limits: { payload: 1MiB, connections: 5 }
`;

const executablePath = findChromium();

/** What the page has once the client is loaded. */
interface InPage {
  readonly nats: {
    readonly wsconnect: typeof wsconnect;
    readonly headers: typeof import("@nats-io/nats-core").headers;
    readonly jetstream: typeof import("@nats-io/jetstream").jetstream;
    readonly Kvm: typeof import("@nats-io/kv").Kvm;
  };
  nc: NatsConnection;
}

describe("a stock client in a browser", { skip: executablePath === undefined && NO_CHROMIUM }, () => {
  let stack: TestStack;
  let browser: Browser;
  let page: Page;

  before(async () => {
    stack = await startTestStack({ policy: POLICY });
    // Chromium refuses its own sandbox to root, as which containers run.
    const args = process.getuid?.() === 0 ? ["--no-sandbox"] : [];
    browser = await chromium.launch({ executablePath: executablePath ?? "", args });
    page = await browser.newPage();
    await page.goto(`${stack.gatewayUrl}/demo`);
    await page.getByRole("link", { name: "Sign in" }).click();
    await page.getByRole("button", { name: /Alice/ }).click();
    await page.waitForURL(`${stack.gatewayUrl}/demo`);
    await page.evaluate(await bundledClient());
    await page.evaluate(async (servers) => {
      const inPage = globalThis as unknown as InPage;
      inPage.nc = await inPage.nats.wsconnect({ servers, reconnect: false });
    }, nativeUrl(stack));
  });
  after(async () => {
    await browser?.close();
    await stack?.stop();
  });

  test("publishes, and its messages are countersigned for the session's user", async () => {
    const seen = stack.admin.subscribe("lab.browser");
    await stack.admin.flush();
    await page.evaluate(async () => {
      const { nc, nats } = globalThis as unknown as InPage;
      const headers = nats.headers();
      headers.set("Kind", "apples");
      nc.publish("lab.browser", "from a page", { headers });
      await nc.flush();
    });
    const { value: msg } = await seen[Symbol.asyncIterator]().next();
    assert(msg);
    const verify = createVerifier({
      issuer: stack.gatewayUrl,
      audience: TRUST_DOMAIN,
      keys: remoteKeySet({ url: `${stack.gatewayUrl}/.well-known/jwks.json` }),
    });
    const verified = await verify(msg);
    assert.equal(verified.sender.user, "demo-alice");
    assert.equal(msg.headers?.get("Kind"), "apples");
    seen.unsubscribe();
  });

  test("subscribes, requests, joins a queue group, carries 900 kB, and drains", async () => {
    const found = await page.evaluate(async () => {
      const { nc } = globalThis as unknown as InPage;
      const read: string[] = [];
      const sub = nc.subscribe("lab.many", { max: 100 });
      for (let n = 0; n < 100; n += 1) nc.publish("lab.many", String(n));
      for await (const msg of sub) read.push(msg.string());
      const reply = await nc.request("inventory.check", "apples", { timeout: 5_000 });
      const worker = nc.subscribe("work.>", { queue: "workers" });
      nc.publish("work.1", "w");
      let worked = "";
      for await (const msg of worker) {
        worked = msg.string();
        break;
      }
      const large = nc.subscribe("lab.large", { max: 1 });
      nc.publish("lab.large", new Uint8Array(900_000).fill(7));
      let bytes = 0;
      for await (const msg of large) bytes = msg.data.filter((byte) => byte === 7).length;
      const last = nc.subscribe("lab.last");
      const lastRead: string[] = [];
      const reading = (async () => {
        for await (const msg of last) lastRead.push(msg.string());
      })();
      await nc.flush();
      for (let n = 0; n < 50; n += 1) nc.publish("lab.last", String(n));
      await last.drain();
      await reading;
      return { read: read.join(), replied: reply.data.length > 0, worked, bytes, lastRead: lastRead.length };
    });
    const read = Array.from({ length: 100 }, (_, n) => n).join();
    assert.deepEqual(found, { read, replied: true, worked: "w", bytes: 900_000, lastRead: 50 });
  });

  test("publishes to a stream, reads it in order, and keeps, gets, lists and watches keys of a bucket", async () => {
    await new Kvm(stack.admin).create("carts");
    const found = await page.evaluate(async () => {
      const { nc, nats } = globalThis as unknown as InPage;
      const js = nats.jetstream(nc);
      for (let n = 0; n < 5; n += 1) await js.publish(`orders.eu.${n}`, String(n));
      const read: string[] = [];
      for await (const msg of await (await js.consumers.get("ORDERS")).consume()) {
        read.push(msg.string());
        if (read.length === 5) break;
      }
      const carts = await new nats.Kvm(nc).open("carts");
      await carts.put("demo-alice.a", "apples");
      const watched: string[] = [];
      for await (const entry of await carts.watch()) {
        watched.push(entry.string());
        if (watched.length === 2) break;
        await carts.put("demo-alice.a", "pears");
      }
      const keys: string[] = [];
      for await (const key of await carts.keys()) keys.push(key);
      const got = (await carts.get("demo-alice.a"))?.string();
      const foreign = await carts.get("demo-bob.a").catch((error: Error) => error.message);
      return { read, watched, keys, got, foreign };
    });
    assert.deepEqual(found, {
      read: ["0", "1", "2", "3", "4"],
      watched: ["apples", "pears"],
      keys: ["demo-alice.a"],
      got: "pears",
      foreign: 'Permissions Violation for Publish to "$JS.API.STREAM.MSG.GET.KV_carts"',
    });
  });

  test("is told what it may not do", async () => {
    const told = await page.evaluate(async () => {
      const { nc } = globalThis as unknown as InPage;
      const subscribing = new Promise<string>((resolve) => {
        nc.subscribe("secret.>", { callback: (error) => resolve(error?.message ?? "") });
      });
      const publishing = (async () => {
        for await (const status of nc.status()) {
          if (status.type === "error" && status.error.message.includes("Publish"))
            return status.error.message;
        }
        return "";
      })();
      nc.publish("secret.x");
      return [await subscribing, await publishing];
    });
    assert.deepEqual(told, [
      'Permissions Violation for Subscription to "secret.>"',
      'Permissions Violation for Publish to "secret.x"',
    ]);
  });

  test("ends with the session, and does not come back", async () => {
    const closed = await page.evaluate(async () => {
      const { nc } = globalThis as unknown as InPage;
      await fetch("/auth/logout", { method: "POST", redirect: "manual" });
      return String(await nc.closed());
    });
    assert.match(closed, /User Authentication Revoked/i);
    const again = await page.evaluate(async (servers) => {
      const { nats } = globalThis as unknown as InPage;
      return await nats.wsconnect({ servers, reconnect: false, timeout: 3_000 }).then(
        () => "connected",
        () => "refused",
      );
    }, nativeUrl(stack));
    assert.equal(again, "refused");
  });
});

/** The client as a page would load it, as `globalThis.nats`. */
async function bundledClient(): Promise<string> {
  const { outputFiles } = await build({
    stdin: {
      contents: `export { headers, wsconnect } from "@nats-io/nats-core";
        export { jetstream } from "@nats-io/jetstream";
        export { Kvm } from "@nats-io/kv";`,
      resolveDir: import.meta.dirname,
    },
    ...{ bundle: true, write: false, format: "iife", globalName: "nats", platform: "browser" },
  });
  // A declaration of the script's would be none of the page's.
  return `${outputFiles[0]?.text.replace(/^(?:"use strict";\s*)?var nats/, "globalThis.nats")}`;
}
