import type { Config } from "../config/config.ts";
import type { ListenConfig } from "../config/listen.ts";
import { isLoopback } from "../config/values.ts";
import { clientRequestIdOf } from "../endpoints/request-id.ts";
import { GatewayError } from "../errors.ts";
import { ANCM_SHUTDOWN_PATH } from "../hop/headers.ts";
import type { JudgeHop } from "../hop/hop.ts";
import { judgeAncm, judgeArr, judgeDirect, judgeProxy, type OpenSigned } from "../hop/judge.ts";
import { checkSigned, openSignedIdentity } from "../hop/signed-identity.ts";
import { createVerifyCertificate, type VerifyCertificate } from "../identity/certificate.ts";
import { createVerifyEasyAuth } from "../identity/easy-auth.ts";
import type { VerifyVouched } from "../identity/identify.ts";
import type { SessionStore } from "../identity/session.ts";
import { createUseOnce } from "../identity/used-once.ts";
import { createVerifyVouched } from "../identity/vouched.ts";
import { createVerifyWindows } from "../identity/windows.ts";
import type { Base } from "./base.ts";
import { followed } from "./followed.ts";

/**
 * What judges by which hop a request came, as the configuration says.
 *
 * @throws GatewayError CONFIG_INVALID for a secret that cannot be read
 */
export function judgeHopOf(base: Base): JudgeHop {
  const { config, log, clock } = base;
  const { behind, clientCa } = config.listen;
  const openSigned = openSignedOf(base);
  const mutualTls = clientCa !== undefined;
  const takesCertificates = edgeIssuerOf(config, "certificates") !== undefined;
  switch (behind?.kind) {
    case undefined:
      return judgeDirect({
        easyAuth: edgeIssuerOf(config, "easy-auth")?.inside ?? false,
      });
    case "iis-ancm":
      return judgeAncm({ token: startedByIis(config.listen).token, openSigned, takesCertificates });
    case "iis-arr": {
      const secrets =
        behind.proof &&
        followed(behind.proof, clock, (why) => log.error({ why }, "listen: proof: the old one stays"));
      // On the way from another machine a secret that is the same in every request proves too little.
      const isBeyond = config.listen.host !== undefined && !isLoopback(config.listen.host);
      const signatureNeeded = !mutualTls && (!secrets || isBeyond);
      return judgeArr({ secrets, mutualTls, openSigned, takesCertificates, signatureNeeded });
    }
    case "proxy":
      return judgeProxy({
        mutualTls,
        requestIdOf: behind.overwritesRequestId
          ? ({ headers }) => clientRequestIdOf(headers["x-request-id"])
          : undefined,
      });
  }
}

/** Absent where no issuer has the module's key: then its header is anybody's. */
function openSignedOf({ config, log, clock }: Base): OpenSigned | undefined {
  const issuer = edgeIssuerOf(config, "windows");
  if (!issuer) return undefined;
  const keys = followed(issuer.keys, clock, (why) =>
    log.error({ why }, "the module's key: the old one stays"),
  );
  return (header, method) => {
    const opened = openSignedIdentity(header, keys());
    return opened.ok ? checkSigned(opened.value, { method, now: clock() }) : opened;
  };
}

/** @throws GatewayError LISTEN_FAILED when the configuration says that IIS starts the gateway, and it did not */
export function startedByIis({
  behind,
}: ListenConfig): NonNullable<Extract<ListenConfig["behind"], { kind: "iis-ancm" }>["process"]> {
  if (behind?.kind === "iis-ancm" && behind.process) return behind.process;
  throw new GatewayError(
    "LISTEN_FAILED",
    "Cannot listen: `listen: behind: iis-ancm` has IIS start the gateway and give it a port, and ASPNETCORE_PORT, ASPNETCORE_TOKEN and ASPNETCORE_APPL_PATH are not all set. Start it by a request to the site, or give `listen: address` in a configuration of its own to run it by hand",
  );
}

/** Where IIS asks this process to end; undefined when another started it. */
export function shutdownPathOf({ listen }: Config): string | undefined {
  if (listen.behind?.kind !== "iis-ancm") return undefined;
  return startedByIis(listen).applicationPath.replace(/\/$/, "") + ANCM_SHUTDOWN_PATH;
}

/** What verifies what a proven hop says of users; undefined when no issuer speaks that way. */
export function verifyVouchedOf(
  { config, clock }: Base,
  sessions: Pick<SessionStore, "notBefore" | "rememberOnce">,
): VerifyVouched | undefined {
  if (config.edgeIssuers.length === 0) return undefined;
  const windows = edgeIssuerOf(config, "windows");
  const useOnce = createUseOnce({
    startedAt: clock(),
    ...(windows?.nonces !== "here" && {
      rememberOnce: (key, seconds) => sessions.rememberOnce(key, seconds),
    }),
  });
  const certificates = edgeIssuerOf(config, "certificates");
  const easyAuth = edgeIssuerOf(config, "easy-auth");
  return createVerifyVouched({
    verifyWindows: windows && createVerifyWindows({ issuer: windows.name, useOnce }),
    verifyCertificate: certificates && verifyCertificateOf(certificates),
    verifyEasyAuth: easyAuth && createVerifyEasyAuth({ issuer: easyAuth.name, tenant: easyAuth.tenant }),
    useOnce,
    notBefore: (key) => sessions.notBefore(key),
  });
}

function verifyCertificateOf({ name, users, service, ca }: EdgeIssuer<"certificates">): VerifyCertificate {
  return createVerifyCertificate({ issuer: name, users, service, ...(ca && { authorities: ca() }) });
}

type EdgeIssuer<Kind> = Extract<Config["edgeIssuers"][number], { readonly kind: Kind }>;

/** There is at most one of each kind. */
function edgeIssuerOf<Kind extends Config["edgeIssuers"][number]["kind"]>(
  { edgeIssuers }: Config,
  kind: Kind,
): EdgeIssuer<Kind> | undefined {
  return edgeIssuers.find((issuer): issuer is EdgeIssuer<Kind> => issuer.kind === kind);
}
