import assert from "node:assert/strict";
import { test } from "node:test";
import { fetchToken } from "./fetch-token.ts";
import { startIdentityProvider } from "./oidc.ts";

test("fetchToken() gets tokens of the demo users and the machine client, and says whom it knows", async () => {
  const provider = await startIdentityProvider();
  const running = { issuer: provider.issuer, serviceSecret: provider.serviceClient.secret };
  const subjectOf = async (who: string): Promise<unknown> => {
    const claims = (await fetchToken(running, who)).split(".")[1] ?? "";
    return JSON.parse(Buffer.from(claims, "base64url").toString()).sub;
  };
  assert.deepEqual([await subjectOf("carol"), await subjectOf("inventory")], ["carol", "inventory"]);
  await assert.rejects(fetchToken(running, "mallory"), {
    name: "DevstackError",
    message: "Expected one of alice, bob, carol, inventory; found mallory.",
  });
  await provider.stop();
  await assert.rejects(fetchToken(running, "alice"), /does not answer: is `npm start` still running\?/);
});
