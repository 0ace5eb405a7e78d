/**
 * Clients as they are: a browser's EventSource, the package `eventsource`, curl. Each reads a stream across a restart of
 * the gateway; the browser by the loop of docs/http-api.md, since EventSource gives up at the first answer but 200.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { after, before, describe, test } from "node:test";
import { findChromium, NO_CHROMIUM } from "@countersign/devstack/chromium.ts";
import { jetstream } from "@nats-io/jetstream";
import { EventSource } from "eventsource";
import { type Browser, chromium, type Page } from "playwright-core";
import { startTestStack, type TestStack } from "./support.ts";
import { eventually } from "./support-operations.ts";

const POLICY = `
version: 1
roles:
  clerk:
    given-to: [ { issuer: demo, groups: Orders.Clerks } ]
    may: [ 'read-stream ORDERS orders.{region}.>' ]
`;

let stack: TestStack;
before(async () => {
  stack = await startTestStack({ policy: POLICY });
});
after(() => stack?.stop());

async function store(subject: string, ...bodies: readonly string[]): Promise<void> {
  for (const body of bodies) await jetstream(stack.admin).publish(subject, body);
}

function pathOf(subject: string): string {
  return `/v1/subscribe?subject=${subject}&stream=ORDERS&from=all`;
}

test("the package eventsource goes on by itself after a restart, with the id it has", async () => {
  await store("orders.eu.package", "0");
  const read: string[] = [];
  const source = new EventSource(stack.gatewayUrl + pathOf("orders.eu.package"), {
    fetch: (input, init) =>
      fetch(input, {
        ...init,
        headers: { ...init.headers, authorization: `Bearer ${stack.token("alice")}` },
      }),
  });
  source.addEventListener("message", ({ data }) => read.push(JSON.parse(data).data));
  await eventually("the first", () => (read.length === 1 ? true : undefined));
  const restarted = stack.restartGateway();
  await store("orders.eu.package", "1", "2");
  await restarted;
  await eventually("the rest", () => (read.length >= 3 ? true : undefined));
  assert.deepEqual(read, ["0", "1", "2"]);
  source.close();
});

test("curl -N prints events as they come", async () => {
  await store("orders.eu.curl", "0");
  const child = spawn(
    "curl",
    [
      "-sN",
      "-H",
      `Authorization: Bearer ${stack.token("alice")}`,
      stack.gatewayUrl + pathOf("orders.eu.curl"),
    ],
    {
      stdio: ["ignore", "pipe", "inherit"],
    },
  );
  let text = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    text += chunk;
  });
  await eventually("the first", () => (text.includes('"data":"0"') ? true : undefined));
  await store("orders.eu.curl", "1");
  await eventually("the next", () => (text.includes('"data":"1"') ? true : undefined));
  child.kill();
  assert.match(
    text,
    /^: open\n\nevent: begin\nid: ORDERS:\d+\ndata: \{\}\n\nid: ORDERS:\d+\ndata: \{"subject":"orders\.eu\.curl",/,
  );
});

describe("a browser", { skip: findChromium() === undefined && NO_CHROMIUM }, () => {
  let browser: Browser;
  let page: Page;

  before(async () => {
    // Chromium refuses its own sandbox to root, as which containers run.
    const args = process.getuid?.() === 0 ? ["--no-sandbox"] : [];
    browser = await chromium.launch({ executablePath: findChromium() ?? "", args });
    page = await browser.newPage();
    await page.goto(`${stack.gatewayUrl}/demo`);
    await page.getByRole("link", { name: "Sign in" }).click();
    await page.getByRole("button", { name: /Alice/ }).click();
    await page.waitForURL(`${stack.gatewayUrl}/demo`);
  });
  after(() => browser?.close());

  test("reads on by the loop of the documentation, through restarts, and through answers at which EventSource gives up", async () => {
    await store("orders.eu.page", "0");
    await page.evaluate(await documentedLoop());
    await page.evaluate((path) => {
      const inPage = globalThis as unknown as InPage;
      inPage.read = [];
      inPage.watch(path, ({ data }) => inPage.read.push(JSON.parse(data).data));
    }, pathOf("orders.eu.page"));
    const read = (): Promise<readonly string[]> =>
      page.evaluate(() => (globalThis as unknown as InPage).read);
    const haveRead = (count: number) =>
      eventually(`${count} events`, async () => ((await read()).length >= count ? true : undefined));
    await haveRead(1);
    for (const [n, body] of ["1", "2"].entries()) {
      await stack.gateway().stop();
      await store("orders.eu.page", body);
      await whileItAnswers(503);
      await stack.restartGateway();
      await haveRead(n + 2);
    }
    assert.deepEqual(await read(), ["0", "1", "2"]);
  });
});

interface InPage {
  read: string[];
  watch: (url: string, onEvent: (event: MessageEvent<string>) => void) => void;
}

/** As it stands there. */
async function documentedLoop(): Promise<string> {
  const text = await readFile(new URL("../docs/http-api.md", import.meta.url), "utf8");
  const [, script] = /```js\n(function watch\([\s\S]*?)```/.exec(text) ?? [];
  assert(script, "docs/http-api.md has the loop");
  return `globalThis.watch = (() => { ${script}\nreturn watch; })()`;
}

/** In the gateway's place, as a web server in front of it whose application pool starts; until it was asked once. */
async function whileItAnswers(status: number): Promise<void> {
  const { promise: asked, resolve } = Promise.withResolvers<void>();
  const server = createServer((_, response) => {
    response.writeHead(status).end();
    resolve();
  });
  server.listen(Number(new URL(stack.gatewayUrl).port), "127.0.0.1");
  await asked;
  server.closeAllConnections();
  await new Promise((closed) => server.close(closed));
}
