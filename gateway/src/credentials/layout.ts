import type { EpochSeconds } from "../time.ts";
import { CONTROL_LIMITS, encodeAccount, SYSTEM_LIMITS, UNLIMITED, userCreds } from "./account-jwt.ts";
import type { Crossing } from "./crossings.ts";
import {
  gatewayFiles,
  KEY_FILES,
  type KeysManifest,
  keyFile,
  OFFLINE_FILES,
  offlineFile,
  type Plan,
  type Trust,
} from "./keys-folder.ts";
import { exportOf, planWeb } from "./layout-web.ts";
import { type AccountClaims, encodeNatsJwt } from "./nats-jwt.ts";
import { createNkey, type Nkey } from "./nkey.ts";
import { CONTROL_PERMISSIONS, systemPermissionsOf } from "./own-users.ts";

/**
 * A cluster of one's own, from nothing: one operator; the accounts SYS, CONTROL (the gateway's state), CORE (the users
 * it carries, and trusted services) and WEB (clients that connect by themselves, each judged by the auth callout). The
 * gateway gets one signing key of CORE, one of WEB and none of CONTROL, so nobody it mints can reach the record.
 *
 * @param clusterSecret  text of `cluster.secret`
 * @param crossings      what WEB may reach in CORE
 */
export function planNewCluster(
  now: EpochSeconds,
  clusterSecret: string,
  crossings: readonly Crossing[],
): Plan {
  const [operator, operatorSigning] = [createNkey("operator"), createNkey("operator")];
  const [system, control, core] = [createNkey("account"), createNkey("account"), createNkey("account")];
  const [signing, proxy] = [createNkey("account"), createNkey("user")];
  const web = planWeb(core.publicKey, crossings, now);
  const account = (name: string, key: Nkey, claims: Omit<AccountClaims, "type">) => ({
    name,
    publicKey: key.publicKey,
    jwt: encodeAccount(name, key, claims, operatorSigning, now),
  });
  const trust: Trust = {
    operatorJwt: encodeNatsJwt<"operator">({
      name: "countersign",
      subject: operator.publicKey,
      signer: operator,
      issuedAt: now,
      claims: {
        type: "operator",
        signing_keys: [operatorSigning.publicKey],
        system_account: system.publicKey,
      },
    }),
    systemAccount: system.publicKey,
    accounts: [
      account("SYS", system, { limits: SYSTEM_LIMITS }),
      account("CONTROL", control, { limits: CONTROL_LIMITS }),
      account("CORE", core, {
        limits: UNLIMITED,
        signing_keys: [signing.publicKey],
        ...(crossings.length > 0 && { exports: crossings.map(exportOf) }),
      }),
      account("WEB", web.key, web.claims),
    ],
  };
  const admin = userCreds("core-admin", core, { pub: { allow: [">"] }, sub: { allow: [">"] } }, false, now);
  return {
    manifest: manifestOf("operator", core.publicKey, signing, {
      proxyKey: proxy.publicKey,
      direct: web.manifest,
      trust,
    }),
    files: [
      offlineFile(OFFLINE_FILES.operator, "the operator key", operator.exportSeed()),
      offlineFile(OFFLINE_FILES.operatorSigning, "the operator's signing key", operatorSigning.exportSeed()),
      offlineFile(OFFLINE_FILES.systemAccount, "the key of the account SYS", system.exportSeed()),
      offlineFile(OFFLINE_FILES.controlAccount, "the key of the account CONTROL", control.exportSeed()),
      offlineFile(OFFLINE_FILES.coreAccount, "the key of the account CORE", core.exportSeed()),
      offlineFile(OFFLINE_FILES.webAccount, "the key of the account WEB", web.key.exportSeed()),
      offlineFile(OFFLINE_FILES.coreAdmin, "the administrator of the account CORE", admin),
      ...gatewayFiles({ signing, proxy, clusterSecret }),
      keyFile(KEY_FILES.control, "the gateway's user in CONTROL", controlCreds(control, now)),
      ...web.files,
      keyFile(
        KEY_FILES.system,
        "the gateway's user in the system account",
        userCreds("countersign", system, systemPermissionsOf([core.publicKey, web.key.publicKey]), true, now),
      ),
    ],
  };
}

/**
 * Additions to a cluster whose operator key is somewhere else. CONTROL and WEB come as accounts signed by themselves,
 * which `nsc import account` signs anew with the operator's key.
 */
export function planExistingCluster(
  accountPublicKey: string,
  now: EpochSeconds,
  clusterSecret: string,
  crossings: readonly Crossing[],
): Plan {
  const [control, signing, proxy] = [createNkey("account"), createNkey("account"), createNkey("user")];
  const web = planWeb(accountPublicKey, crossings, now);
  const controlJwt = encodeAccount("CONTROL", control, { limits: CONTROL_LIMITS }, control, now);
  const webJwt = encodeAccount("WEB", web.key, web.claims, web.key, now);
  return {
    manifest: manifestOf("operator", accountPublicKey, signing, {
      proxyKey: proxy.publicKey,
      direct: web.manifest,
    }),
    files: [
      offlineFile(OFFLINE_FILES.controlAccount, "the key of the account CONTROL", control.exportSeed()),
      offlineFile(OFFLINE_FILES.controlAccountJwt, "the account CONTROL, to be imported", controlJwt),
      offlineFile(OFFLINE_FILES.webAccount, "the key of the account WEB", web.key.exportSeed()),
      offlineFile(OFFLINE_FILES.webAccountJwt, "the account WEB, to be imported", webJwt),
      ...gatewayFiles({ signing, proxy, clusterSecret }),
      keyFile(KEY_FILES.control, "the gateway's user in CONTROL", controlCreds(control, now)),
      ...web.files,
    ],
  };
}

/** A cluster whose configuration is somebody else's: only a signing key; the users come from its operator. */
export function planHosted(accountPublicKey: string, clusterSecret: string): Plan {
  const signing = createNkey("account");
  return {
    manifest: manifestOf("hosted", accountPublicKey, signing, {}),
    files: gatewayFiles({ signing, clusterSecret }),
  };
}

function manifestOf(
  kind: KeysManifest["kind"],
  account: string,
  signing: Nkey,
  rest: Pick<KeysManifest, "proxyKey" | "direct" | "trust">,
): KeysManifest {
  return { version: 1, kind, account, signingKey: signing.publicKey, ...rest };
}

function controlCreds(control: Nkey, now: EpochSeconds): string {
  return userCreds("countersign", control, CONTROL_PERMISSIONS, true, now);
}
