import type { Crossing } from "./crossings.ts";
import {
  ACCOUNT_NAMES,
  gatewayFiles,
  KEY_FILES,
  keyFile,
  OFFLINE_FILES,
  offlineFile,
  type Plan,
} from "./keys-folder.ts";
import { createNkey } from "./nkey.ts";
import { createXkey } from "./xkey.ts";

/**
 * A cluster of one's own whose accounts stand in the server's configuration. There is no operator: everybody but the
 * gateway's own users is let in by the auth callout alone, whose issuer is the gateway's signing key. So the gateway's
 * connections for its callers are answered by the callout too.
 *
 * @param clusterSecret  text of `cluster.secret`
 * @param crossings      what WEB may reach in CORE
 */
export function planCallout(clusterSecret: string, crossings: readonly Crossing[]): Plan {
  const [signing, proxy, xkey] = [createNkey("account"), createNkey("user"), createXkey()];
  const [system, control, responder, coreAdmin] = [
    createNkey("user"),
    createNkey("user"),
    createNkey("user"),
    createNkey("user"),
  ];
  const issuer = signing.publicKey;
  return {
    manifest: {
      version: 1,
      kind: "callout",
      account: ACCOUNT_NAMES.core,
      signingKey: issuer,
      proxyKey: proxy.publicKey,
      direct: { account: ACCOUNT_NAMES.web, signingKey: issuer, xkey: xkey.publicKey },
      accounts: {
        users: {
          system: system.publicKey,
          control: control.publicKey,
          responder: responder.publicKey,
          coreAdmin: coreAdmin.publicKey,
        },
        crossings,
      },
    },
    files: [
      offlineFile(
        OFFLINE_FILES.coreAdminKey,
        "the administrator of the account CORE",
        coreAdmin.exportSeed(),
      ),
      ...gatewayFiles({ signing, proxy, clusterSecret }),
      keyFile(KEY_FILES.controlKey, "the gateway's user in CONTROL", control.exportSeed()),
      keyFile(KEY_FILES.calloutKey, "the gateway's user in AUTH", responder.exportSeed()),
      keyFile(KEY_FILES.calloutXkey, "the curve key of the auth callout", xkey.exportSeed()),
      keyFile(KEY_FILES.systemKey, "the gateway's user in the system account", system.exportSeed()),
    ],
  };
}
