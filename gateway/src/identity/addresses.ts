import { BlockList, isIP } from "node:net";

/** Where a provider may stand: on this machine, in one's own network too, or only on the Internet. */
export type Reach = "loopback" | "private" | "public";

const LOOPBACK = listOf(["127.0.0.0/8", "::1/128"]);

/** RFC 1918, RFC 6598 (shared), RFC 4193 (unique local). */
const PRIVATE = listOf(["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"]);

/**
 * Never a provider's address: this network, link-local (169.254.169.254 hands out a cloud machine's credentials),
 * documentation, benchmarks, multicast, reserved; and the IPv6 ranges that carry an IPv4 address inside, through
 * which any of these could be reached (RFC 6052, RFC 3056, RFC 4380). IPv4-mapped ones are judged as IPv4.
 */
const NEVER = listOf([
  "0.0.0.0/8",
  "169.254.0.0/16",
  "192.0.0.0/24",
  "192.0.2.0/24",
  "198.18.0.0/15",
  "198.51.100.0/24",
  "203.0.113.0/24",
  "224.0.0.0/3",
  "::/128",
  "64:ff9b::/96",
  "64:ff9b:1::/48",
  "100::/64",
  "2001::/23",
  "2001:db8::/32",
  "2002::/16",
  "fe80::/10",
  "fec0::/10",
  "ff00::/8",
]);

/**
 * Whether a connection to this address may be made for a provider of this reach. A loopback provider is found
 * on loopback only, and no other provider ever is: a name that resolves to 127.0.0.1 is an attack on a service of
 * this machine (DNS rebinding).
 *
 * @param address  an IPv4 or IPv6 address; anything else is refused
 */
export function mayConnect(address: string, reach: Reach): boolean {
  const family = isIP(address) === 4 ? "ipv4" : "ipv6";
  if (isIP(address) === 0 || address.includes("%")) return false;
  const loopback = LOOPBACK.check(address, family);
  if (reach === "loopback") return loopback;
  if (loopback || NEVER.check(address, family)) return false;
  return reach === "private" || !PRIVATE.check(address, family);
}

/** Whether a URL's host names this machine by itself, so that plain HTTP never leaves it. */
export function isLoopbackHost(hostname: string): boolean {
  const host = hostname.replace(/^\[|\]$/g, "");
  return host === "localhost" || host === "::1" || (isIP(host) === 4 && LOOPBACK.check(host, "ipv4"));
}

function listOf(ranges: readonly string[]): BlockList {
  const list = new BlockList();
  for (const range of ranges) {
    const [network = "", prefix = ""] = range.split("/");
    list.addSubnet(network, Number(prefix), network.includes(":") ? "ipv6" : "ipv4");
  }
  return list;
}
