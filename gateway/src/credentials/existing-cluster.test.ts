import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { startNatsServer } from "@countersign/devstack/nats-server.ts";
import { decode } from "@nats-io/jwt";
import { Kvm } from "@nats-io/kv";
import { addToCluster } from "./init.ts";
import type { Trust } from "./keys-folder.ts";
import { type AccountClaims, encodeNatsJwt } from "./nats-jwt.ts";
import { loadNatsKeys } from "./nats-keys.ts";
import { createNkey } from "./nkey.ts";
import { renderServerConfig } from "./server-config.ts";
import { dialAs, plainUserJwt } from "./testing/user.ts";

const now = (): number => Date.now() / 1000;

test("addToCluster() makes what another operator's cluster can take in, as nsc would", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "countersign-existing-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const account = createNkey("account");
  const { manifest } = await addToCluster({
    kind: "operator",
    keysDirectory: join(folder, "keys"),
    offlineDirectory: join(folder, "offline"),
    accountPublicKey: account.publicKey,
    now: now(),
  });
  const keys = await loadNatsKeys(join(folder, "keys"));
  const controlJwt = (await readFile(join(folder, "offline", "control-account.jwt"), "utf8")).trim();
  const control = decode<AccountClaims>(controlJwt);
  assert.equal(control.iss, control.sub, "signed by itself, which nsc signs anew");
  const trust = trustOf(
    { name: control.name, publicKey: control.sub, claims: control.nats as AccountClaims },
    {
      name: "APP",
      publicKey: account.publicKey,
      claims: { ...(control.nats as AccountClaims), signing_keys: [manifest.signingKey] },
    },
  );
  const server = await startNatsServer({
    config: renderServerConfig(
      { ...manifest, trust },
      {
        name: "theirs",
        host: "127.0.0.1",
        port: 4222,
        storeDir: join(folder, "data"),
        loopbackWithoutTls: true,
      },
    ),
  });
  t.after(() => server.stop());
  const connection = await dialAs(server.url, keys.control, keys.proxyKey);
  t.after(() => connection.close());
  const bucket = await new Kvm(connection).create("sessions");
  await bucket.put("k", "v");
  await assert.rejects(dialAs(server.url, keys.control, undefined), /Authorization Violation/);
  const userKey = createNkey("user");
  const jwt = plainUserJwt({ signer: keys.signingKey, account: account.publicKey, userKey, now: now() });
  const minted = await dialAs(server.url, { jwt, userKey, inboxPrefix: "_INBOX.u" }, undefined);
  await minted.close();
});

interface PlainAccount {
  readonly name: string;
  readonly publicKey: string;
  readonly claims: AccountClaims;
}

/** What an operator who is not us makes of these accounts. */
function trustOf(...accounts: readonly PlainAccount[]): Trust {
  const [operator, system] = [createNkey("operator"), createNkey("account")];
  const [template] = accounts;
  assert.ok(template);
  const limits = { ...template.claims.limits, mem_storage: 0, disk_storage: 0, streams: 0, consumer: 0 };
  const all = [
    ...accounts,
    { name: "SYS", publicKey: system.publicKey, claims: { type: "account", limits } as const },
  ];
  return {
    operatorJwt: encodeNatsJwt<"operator">({
      name: "theirs",
      subject: operator.publicKey,
      signer: operator,
      issuedAt: now(),
      claims: { type: "operator", system_account: system.publicKey },
    }),
    systemAccount: system.publicKey,
    accounts: all.map(({ name, publicKey, claims }) => ({
      name,
      publicKey,
      jwt: encodeNatsJwt<"account">({ name, subject: publicKey, signer: operator, issuedAt: now(), claims }),
    })),
  };
}
