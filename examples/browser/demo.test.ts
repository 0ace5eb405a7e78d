import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { findChromium, NO_CHROMIUM } from "@countersign/devstack/chromium.ts";
import { type Stack, startStack } from "@countersign/devstack/stack.ts";
import { type Browser, chromium, type Page } from "playwright-core";

const executablePath = findChromium();

describe("the demo page in a browser", { skip: executablePath === undefined && NO_CHROMIUM }, () => {
  let stateDir: string;
  let stack: Stack;
  let browser: Browser;
  let page: Page;
  const consoleErrors: string[] = [];

  before(async () => {
    stateDir = await mkdtemp(join(tmpdir(), "countersign-demo-"));
    stack = await startStack({ stateDir });
    // Chromium refuses its own sandbox to root, as which containers run.
    const args = process.getuid?.() === 0 ? ["--no-sandbox"] : [];
    browser = await chromium.launch({ executablePath: executablePath ?? "", args });
    page = await browser.newPage();
    page.on("pageerror", (error) => consoleErrors.push(error.message));
  });
  after(async () => {
    await browser?.close();
    await stack?.stop();
    await rm(stateDir, { recursive: true, force: true });
  });

  test("alice signs in with one click at the identity provider's own site", async () => {
    await page.goto(`${stack.gatewayUrl}/demo`);
    await page.getByRole("link", { name: "Sign in" }).click();
    await page.getByRole("button", { name: /Alice/ }).click();
    await page.getByText("(demo-alice), roles: order-clerk").waitFor();
    assert.equal(page.url(), `${stack.gatewayUrl}/demo`);
    assert.equal(await page.evaluate("document.cookie"), "");
  });

  test("she publishes, and the stream shows her message with its verified sender", async () => {
    await page.getByText("watching").waitFor();
    await page.getByRole("button", { name: "Publish" }).click();
    await page.getByText(/^sent, txn [0-9a-f-]{36}$/).waitFor();
    const line = await page.getByRole("listitem").first().textContent();
    assert.match(
      line ?? "",
      /^orders\.eu\.1\.create {2}✓ (Alice Ambrose|demo-alice) {2}\{"article":"apples"/,
    );
  });

  test("she is refused another region's subject", async () => {
    await page.getByLabel("Subject").fill("orders.us.1.create");
    await page.getByRole("button", { name: "Publish" }).click();
    await page.getByText("403 not_allowed").waitFor();
  });

  test("after signing out the page asks to sign in", async () => {
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByRole("link", { name: "Sign in" }).waitFor();
    assert.deepEqual(consoleErrors, []);
  });
});
