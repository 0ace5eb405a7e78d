import assert from "node:assert/strict";
import { test } from "node:test";
import { formatDirectName } from "./direct-name.ts";
import { createDirectSweep, type ListedDirect } from "./direct-sweep.ts";
import type { Listing, System } from "./system.ts";
import type { ListedConnection } from "./system-json.ts";

const HASH = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU";

function connectionOf(cid: number, authorizedUser: string): ListedConnection {
  const where = { serverId: "N1", server: "n1", account: "A1" };
  return { ...where, cid, authorizedUser, type: "nats", name: "", tags: [] };
}

function nameOf(user: string): string {
  const proof = { kind: "bearer", hash: HASH } as const;
  return formatDirectName({ user, proof, provedAt: 1, instance: "first", policy: "0123456789abcdef" });
}

function bench(isOver: (connection: ListedDirect) => Promise<boolean>, listing?: Partial<Listing>) {
  const cut: number[] = [];
  const trouble: string[] = [];
  let lists = 0;
  const connections = [
    connectionOf(1, nameOf("test-ada")),
    connectionOf(2, nameOf("test-eve")),
    connectionOf(3, "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"),
  ];
  const listed = Promise.withResolvers<void>();
  const system = {
    async connections() {
      lists += 1;
      listed.resolve();
      return { connections, servers: [], silent: [], ...listing };
    },
    kick: async ({ cid }: { readonly cid: number }) => {
      cut.push(cid);
      return "cut" as const;
    },
  } as unknown as System;
  const onTrouble = (why: string): void => void trouble.push(why);
  let swept = 0;
  const sweep = createDirectSweep({
    ...{ system, accounts: ["A1"], isOver, clock: () => 1_000, onTrouble },
    onSwept() {
      swept += 1;
    },
  });
  return { sweep, cut, trouble, lists: () => lists, listed: listed.promise, swept: () => swept };
}

test("run() cuts what is over, and asks of nothing that is not on our word", async () => {
  const asked: string[] = [];
  const { sweep, cut, swept } = bench(async ({ of }) => {
    asked.push(of.user);
    return of.user === "test-ada";
  });
  await sweep.run();
  assert.deepEqual([asked, cut, swept()], [["test-ada", "test-eve"], [1], 1]);
});

test("run() leaves what cannot be judged, cuts the rest, and says so", async () => {
  const { sweep, cut, trouble } = bench(
    async ({ of }) => {
      if (of.user === "test-ada") throw new Error("the session store does not answer");
      return true;
    },
    { silent: ["n3"] },
  );
  await sweep.run();
  assert.deepEqual(cut, [2]);
  assert.deepEqual(trouble, ["no answer from n3", "the session store does not answer"]);
});

test("soon() shares one sweep among all that ask for it", async (t) => {
  const { sweep, lists, listed } = bench(async () => false);
  t.after(() => sweep.stop());
  for (let count = 0; count < 100; count += 1) sweep.soon();
  await listed;
  assert.equal(lists(), 1);
});
