import assert from "node:assert/strict";
import { test } from "node:test";
import { decode } from "@nats-io/jwt";
import type { Ask } from "./admit.ts";
import type { AuditCompletion } from "./audit/record.ts";
import type { CalloutRequest } from "./credentials/callout.ts";
import { encodeNatsJwt } from "./credentials/nats-jwt.ts";
import { createNkey } from "./credentials/nkey.ts";
import type { Identity } from "./identity/identity.ts";
import { createIssue, type IssueParts } from "./issue.ts";
import type { Grant } from "./policy/grant.ts";
import { allowed, refused } from "./refusal.ts";

const NOW = 1_900_000_000;
const signingKey = createNkey("account");
const IDENTITY: Identity = {
  user: "main-ann",
  issuer: "main",
  id: "ann",
  kind: "user",
  attributes: Object.create(null),
  proof: { kind: "bearer", hash: "h".repeat(43) },
  provedAt: NOW - 10,
  expiresAt: NOW + 600,
};
const GRANT: Grant = {
  user: "main-ann",
  policy: "abcdef0123456789",
  hash: "g",
  roles: [],
  may: [],
  never: [],
  limits: { credentialSeconds: 60, payloadBytes: 1_044_480, connections: 5 },
};
const REQUEST: CalloutRequest = {
  server: { id: createNkey("server").publicKey, name: "n1" },
  userNkey: createNkey("user").publicKey,
  client: { host: "10.1.2.3", id: 7, type: "standard" },
  connect: { authToken: "a.b.c" },
};

function issueOf(parts: Partial<IssueParts> & { readonly identity?: Identity } = {}) {
  const asked: Ask[] = [];
  const completed: AuditCompletion[] = [];
  const added: unknown[] = [];
  const { identity = IDENTITY, ...rest } = parts;
  const issue = createIssue({
    async admit(ask) {
      asked.push(ask);
      return allowed({ identity, grant: GRANT, facts: ask.facts, at: NOW });
    },
    audit: {
      record: () => Promise.resolve(),
      complete: (entry) => void completed.push(entry),
      close: () => Promise.resolve(),
    },
    rules: { types: new Set(["standard"]), isSource: () => true, payloadBytesMax: 1_044_480 },
    signer: { signingKey, accountPublicKey: undefined },
    mint: () => refused({ reason: "credential_too_large", bytes: 2, bytesMax: 1 }),
    inboxPrefixOf: () => "_INBOX.X",
    directs: {
      add(connection) {
        added.push(connection);
        return allowed(undefined);
      },
    },
    clock: () => NOW,
    instance: "one",
    ...rest,
  });
  return { issue, asked, completed, added };
}

async function answerOf(issue: ReturnType<typeof createIssue>, request = REQUEST) {
  return decode(await issue.callout(request)).nats as unknown as {
    readonly jwt?: string;
    readonly error?: string;
  };
}

test("callout() is remembered before it is answered, so that whoever is signed out meanwhile is cut", async () => {
  const { issue, added, completed } = issueOf();
  const { jwt = "" } = await answerOf(issue);
  const user = decode(jwt);
  assert.equal(user.name, `main-ann - bearer:${"h".repeat(43)} ${NOW - 10} one abcdef012345`);
  assert.equal(user.exp, NOW + 60);
  assert.deepEqual(added, [
    {
      serverId: REQUEST.server.id,
      cid: 7,
      identity: IDENTITY,
      grantHash: "g",
      way: "direct",
      expiresAt: NOW + 60,
    },
  ]);
  assert.deepEqual(completed, []);
});

test("callout() refuses what no longer stands when it is to be remembered, and completes the record", async () => {
  const { issue, completed } = issueOf({
    directs: { add: () => refused({ reason: "proof_revoked", notBefore: NOW, provedAt: NOW - 10 }) },
  });
  const { jwt, error = "" } = await answerOf(issue);
  assert.equal(jwt, undefined);
  const [, txn] = /^proof_revoked \(txn ([0-9a-f-]{36})\)$/.exec(error) ?? [];
  assert.deepEqual(completed, [
    {
      kind: "completion",
      at: "2030-03-17T17:46:40.000Z",
      instance: "one",
      txns: [txn],
      outcome: "failed",
      why: "proof_revoked",
    },
  ]);
});

test("callout() makes no user that is over at once, and remembers none", async () => {
  const { issue, added } = issueOf({ identity: { ...IDENTITY, expiresAt: NOW + 0.5 } });
  assert.match((await answerOf(issue)).error ?? "", /^proof_expired/);
  assert.deepEqual(added, []);
});

test("callout() presents each token once, a credential with its signature, and of a sentinel nothing", async () => {
  const natsJwt = encodeNatsJwt<"user">({
    name: "sentinel",
    subject: createNkey("user").publicKey,
    signer: signingKey,
    issuedAt: NOW,
    claims: { type: "user", pub: { deny: [">"] }, sub: { deny: [">"] }, subs: -1, data: -1, payload: -1 },
  });
  const nonce = { client: { ...REQUEST.client, nonce: "n" } };
  const shown: readonly (readonly [Partial<CalloutRequest>, readonly object[]])[] = [
    [{ connect: {} }, []],
    [{ connect: { jwt: natsJwt } }, []],
    [{ connect: { jwt: natsJwt, sig: "s" } }, []],
    [{ connect: { jwt: natsJwt, authToken: "t" } }, [{ kind: "bearer", token: "t" }]],
    [{ connect: { authToken: "t", password: "t", jwt: "t" } }, [{ kind: "bearer", token: "t" }]],
    [
      { connect: { authToken: "t", password: "u" } },
      [
        { kind: "bearer", token: "t" },
        { kind: "bearer", token: "u" },
      ],
    ],
    [
      { ...nonce, connect: { jwt: natsJwt, sig: "s" } },
      [{ kind: "credential", jwt: natsJwt, sig: "s", nonce: "n" }],
    ],
    [
      { ...nonce, connect: { authToken: natsJwt, sig: "s" } },
      [{ kind: "credential", jwt: natsJwt, sig: "s", nonce: "n" }],
    ],
  ];
  for (const [request, proofs] of shown) {
    const { issue, asked } = issueOf();
    await issue.callout({ ...REQUEST, ...request });
    const presented = asked[0]?.presented;
    assert.ok(presented?.ok);
    assert.deepEqual(presented.value.proofs, proofs, JSON.stringify(request));
  }
});

test("callout() objects to kinds, addresses and limits that nobody else would hold a connection to", async () => {
  const rules = {
    types: new Set(["mqtt"] as const),
    isSource: (from: string) => from === "::1",
    payloadBytesMax: 10,
  };
  const { issue, asked } = issueOf({ rules });
  const clients = [
    { host: "::1", id: 1, type: "standard" },
    { host: "10.1.2.3", id: 1, type: "mqtt" },
    { host: "localhost", id: 1, type: "mqtt" },
    { host: "::1", id: 1, type: "mqtt" },
  ] as const;
  for (const client of clients) await issue.callout({ ...REQUEST, client });
  const grants = [GRANT, { ...GRANT, limits: { ...GRANT.limits, ratePerSecond: 1 } }];
  const low = { ...GRANT, limits: { ...GRANT.limits, payloadBytes: 9 } };
  assert.deepEqual(
    [...grants, low].map((grant) => asked.map(({ unless }) => unless?.(grant)?.reason)),
    [
      ["connection_type_refused", "source_refused", "source_refused", undefined],
      ["connection_type_refused", "source_refused", "source_refused", "limit_unenforceable"],
      ["connection_type_refused", "source_refused", "source_refused", "limit_unenforceable"],
    ],
  );
});

test("credential() asks for a user's key, and completes the record when none can be made", async () => {
  const { issue, asked, completed } = issueOf();
  const presented = refused({ reason: "proof_missing" });
  const facts = { txn: "t", requestId: "t", lane: "http" };
  const wrong = await issue.credential({
    presented,
    nkey: allowed(createNkey("account").publicKey),
    facts,
  });
  assert.equal(!wrong.ok && wrong.refusal.reason, "request_invalid");
  assert.equal(
    asked[0]?.action && "ok" in asked[0].action && asked[0].action.ok,
    false,
    "and is recorded so",
  );
  const large = await issue.credential({ presented, nkey: allowed(createNkey("user").publicKey), facts });
  assert.equal(!large.ok && large.refusal.reason, "credential_too_large");
  assert.deepEqual(
    completed.map(({ why, txns }) => [why, txns]),
    [["credential_too_large", ["t"]]],
  );
});
