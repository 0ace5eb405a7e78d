import assert from "node:assert/strict";
import { test } from "node:test";
import { type DirectName, formatDirectName, isOfPolicy, parseDirectName } from "./direct-name.ts";

const VERSION = "8e2b2964c738b30e4b815fc1b0c7fba4b73d693698f041b7df3ab11770ce1aa8";
const HASH = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU";
const alice: DirectName = {
  user: "demo-alice=40example",
  proof: { kind: "bearer", hash: HASH },
  provedAt: 1_790_000_000.25,
  instance: "first",
  policy: VERSION,
};
const POLICY = VERSION.slice(0, 12);

test("formatDirectName() names everything that can end a connection, and parseDirectName() reads it again", () => {
  const agent: DirectName = {
    ...alice,
    actor: { user: "demo-billing" },
    proof: { kind: "session", hash: HASH },
  };
  for (const name of [alice, agent]) {
    const read = parseDirectName(formatDirectName(name));
    assert.deepEqual(read, { ...name, policy: POLICY });
    assert(read && isOfPolicy(read, VERSION) && !isOfPolicy(read, VERSION.replace("8", "9")));
  }
});

test("parseDirectName() takes no other name for one of ours", () => {
  const good = formatDirectName(alice);
  const others = [
    "",
    "alice",
    "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4",
    ` ${good}`,
    `${good} `,
    good.replace("demo-alice=40example", "alice"),
    good.replace(" - ", " nobody "),
    good.replace(HASH, HASH.slice(1)),
    good.replace("1790000000.25", "1e9"),
    good.replace(" first ", " first of all "),
    good.replace(POLICY, VERSION),
  ];
  for (const name of others) assert.equal(parseDirectName(name), undefined, name);
});
