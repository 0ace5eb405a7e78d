import type { Probed, Site } from "./probe.ts";
import { probeErrors, probeHealth, probeQuery, probeRequestIds } from "./probe-answers.ts";
import { probeForged, probeForgedAddress, probeForgedPath } from "./probe-forged.ts";
import { probeEvents, probeWebSocket } from "./probe-streams.ts";

/**
 * Probes a running site from outside, as any visitor could; with a token also what only users reach. It changes nothing:
 * refused requests are recorded, as always.
 *
 * @param found  is told of each as it is seen
 * @throws Unreachable  when nobody answers there
 */
export async function probeThrough(site: Site, found: (probed: Probed) => void): Promise<void> {
  const { probed, baseline } = await probeHealth(site);
  found(probed);
  // What does not even answer that has nothing to compare with.
  if (!baseline) return;
  found(await probeRequestIds(site));
  found(await probeErrors(site));
  found(await probeQuery(site));
  for (const each of await probeForged(site, baseline)) found(each);
  for (const each of await probeForgedPath(site, baseline)) found(each);
  found(await probeForgedAddress(site));
  found(await probeEvents(site));
  found(await probeWebSocket(site));
}
