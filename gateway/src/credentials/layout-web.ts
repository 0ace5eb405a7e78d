import type { EpochSeconds } from "../time.ts";
import { DENY_ALL, encodeUserJwt, OURS, UNLIMITED } from "./account-jwt.ts";
import { formatCreds } from "./creds.ts";
import type { Crossing } from "./crossings.ts";
import { type DirectManifest, KEY_FILES, keyFile, type PlannedFile } from "./keys-folder.ts";
import type { AccountClaims, AccountLimits, ExportClaims, ImportClaims } from "./nats-jwt.ts";
import { createNkey, type Nkey } from "./nkey.ts";
import { CALLOUT_PERMISSIONS } from "./own-users.ts";
import { createXkey } from "./xkey.ts";

/**
 * What the auth callout cannot set for one connection is set for all of the account. The default of a role's payload,
 * so that a Grant without a limit of its own can be kept here.
 */
export const DIRECT_PAYLOAD_BYTES_MAX = 1_044_480;
/** Everybody here is judged by the callout, so that a bearer JWT is only an address. JetStream keeps MQTT's sessions. */
const WEB_LIMITS: AccountLimits = {
  ...UNLIMITED,
  payload: DIRECT_PAYLOAD_BYTES_MAX,
  exports: 0,
  mem_storage: 0,
  disallow_bearer: false,
};

/** The account of direct users: what it may reach, who judges its connections, and what the gateway needs for that. */
export interface WebPlan {
  readonly key: Nkey;
  readonly claims: Omit<AccountClaims, "type">;
  readonly manifest: DirectManifest;
  readonly files: readonly PlannedFile[];
}

/** @param core  public key of the account that the crossings lead to, A… */
export function planWeb(core: string, crossings: readonly Crossing[], now: EpochSeconds): WebPlan {
  const [key, signing, responder, sentinel] = [
    createNkey("account"),
    createNkey("account"),
    createNkey("user"),
    createNkey("user"),
  ];
  const xkey = createXkey();
  const claims: Omit<AccountClaims, "type"> = {
    limits: WEB_LIMITS,
    signing_keys: [signing.publicKey],
    ...(crossings.length > 0 && { imports: crossings.map((crossing) => importOf(crossing, core)) }),
    authorization: { auth_users: [responder.publicKey], xkey: xkey.publicKey },
  };
  return {
    key,
    claims,
    manifest: {
      account: key.publicKey,
      signingKey: signing.publicKey,
      sentinelJwt: encodeUserJwt("sentinel", sentinel, key, { ...DENY_ALL, bearer_token: true }, now),
      xkey: xkey.publicKey,
    },
    files: [
      keyFile(KEY_FILES.direct, "the signing key of the account WEB", signing.exportSeed()),
      keyFile(
        KEY_FILES.callout,
        "the gateway's user in WEB",
        formatCreds(
          encodeUserJwt("countersign", responder, key, { ...CALLOUT_PERMISSIONS, ...OURS }, now),
          responder,
        ),
      ),
      keyFile(KEY_FILES.calloutXkey, "the curve key of the auth callout", xkey.exportSeed()),
    ],
  };
}

export function exportOf({ type, subject, manyReplies }: Crossing): ExportClaims {
  const replies = type === "service" && ({ response_type: manyReplies ? "Stream" : "Singleton" } as const);
  return { name: subject, subject, type, ...replies };
}

function importOf({ type, subject, local = subject }: Crossing, account: string): ImportClaims {
  return {
    name: subject,
    subject,
    account,
    local_subject: local,
    type,
    ...(type === "service" && { share: true }),
  };
}
