import assert from "node:assert/strict";
import { test } from "node:test";
import { addressOf, lastElementOf, schemeOf } from "./forwarded.ts";

test("lastElementOf() takes what the nearest hop appended, whatever stands before it", () => {
  assert.equal(lastElementOf([]), undefined);
  assert.equal(lastElementOf(["10.0.0.1, 192.0.2.7:51234"]), "192.0.2.7:51234");
  assert.equal(lastElementOf(["10.0.0.1", "10.0.0.2,10.0.0.3 "]), "10.0.0.3");
  assert.equal(lastElementOf(["192.0.2.7, "]), undefined);
});

test("addressOf() reads an address as IIS writes it, with and without port", () => {
  const found = {
    "192.0.2.7:51234": "192.0.2.7",
    "192.0.2.7": "192.0.2.7",
    "[2001:db8::7]:51234": "2001:db8::7",
    "[2001:db8::7]": "2001:db8::7",
    "2001:db8::7": "2001:db8::7",
    "[fe80::1%12]:443": "fe80::1",
    "::1": "::1",
  };
  for (const [element, address] of Object.entries(found)) assert.equal(addressOf(element), address, element);
});

test("addressOf() takes nothing else for an address", () => {
  const wrong = [
    "",
    "unknown",
    "example.com:80",
    "999.1.1.1",
    "1.2.3.4:123456",
    "[1.2.3.4",
    "1.2.3.4\n",
    "'",
    "a".repeat(100),
  ];
  for (const element of wrong) assert.equal(addressOf(element), undefined, element);
  assert.equal(addressOf(undefined), undefined);
});

test("schemeOf() knows http and https", () => {
  assert.deepEqual(["https", "HTTP", "ws", undefined].map(schemeOf), ["https", "http", undefined, undefined]);
});
