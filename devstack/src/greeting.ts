import { relative } from "node:path";
import type { Stack } from "./stack.ts";

/** Asks the policy of the devstack why bob may not. */
export const EXPLAIN = "npx countersign policy explain --as bob publish orders.eu.1.create";

/** What `npm start` prints when everything runs: where it is, and five things to paste or open. */
export function greetingOf(
  { gatewayUrl, adminUrl = "none", identityProvider, nats, configFile, policyFile, auditFile }: Stack,
  { windows, cwd }: { readonly windows: boolean; readonly cwd: string },
): string {
  const publish = `${gatewayUrl}/v1/publish?subject=orders.eu.1.create`;
  const curl = windows
    ? `irm -Method Post "${publish}" -Headers @{ Authorization = "Bearer $(npm run -s token -- alice)" } -ContentType application/json -Body '{"article":"apples","quantity":3}'`
    : `curl '${publish}' -H "Authorization: Bearer $(npm run -s token -- alice)" \\
       -H 'Content-Type: application/json' -d '{"article":"apples","quantity":3}'`;
  return `
Countersign runs. Ctrl-C stops all of it.

  gateway            ${gatewayUrl}
  identity provider  ${identityProvider.issuer}   alice and bob, order clerks; carol, an auditor
  NATS               ${nats.url}   stream ORDERS on orders.>
  administration     ${adminUrl}   /readyz, /metrics; countersign policy push
  policy             ${relative(cwd, policyFile)}
  configuration      ${relative(cwd, configFile)}
  audit              ${relative(cwd, auditFile)}, and the stream AUDIT of the account CONTROL

Five things to try, in a browser and in a second terminal${windows ? " (PowerShell)" : ""}:

  1  Open ${gatewayUrl}/demo, sign in as alice, publish, watch.
  2  Publish as alice:
     ${curl}
  3  Publish as bob, whose region is us; refused:
     npm run -s try -- bob
  4  Ask why:
     ${EXPLAIN}
  5  Change a message of alice's on its way; the subscriber below refuses it:
     npm run -s try -- tamper

A sample subscriber prints every message on orders.> that it verified, and who sent it:
`;
}
