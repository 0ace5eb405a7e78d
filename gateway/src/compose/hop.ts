import type { Config } from "../config/config.ts";
import type { ListenConfig } from "../config/listen.ts";
import { isLoopback } from "../config/values.ts";
import { clientRequestIdOf } from "../endpoints/request-id.ts";
import { GatewayError } from "../errors.ts";
import { ANCM_SHUTDOWN_PATH } from "../hop/headers.ts";
import type { JudgeHop } from "../hop/hop.ts";
import { judgeAncm, judgeArr, judgeDirect, judgeProxy, type OpenSigned } from "../hop/judge.ts";
import { checkSigned, openSignedIdentity } from "../hop/signed-identity.ts";
import { createVerifyCertificate } from "../identity/certificate.ts";
import { createVerifyEasyAuth } from "../identity/easy-auth.ts";
import type { VerifyVouched } from "../identity/identify.ts";
import type { Identity, VouchedProof } from "../identity/identity.ts";
import type { SessionStore } from "../identity/session.ts";
import { createShareIdentity } from "../identity/shared-identity.ts";
import { createUseOnce } from "../identity/used-once.ts";
import { createVerifyWindows } from "../identity/windows.ts";
import { allowed, type Outcome, refused } from "../refusal.ts";
import type { EpochSeconds } from "../time.ts";
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
  const takesCertificates = config.edgeIssuers.some(({ kind }) => kind === "certificates");
  switch (behind?.kind) {
    case undefined:
      return judgeDirect({
        easyAuth: config.edgeIssuers.some((issuer) => issuer.kind === "easy-auth" && issuer.inside),
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
  const issuer = config.edgeIssuers.find(({ kind }) => kind === "windows");
  if (issuer?.kind !== "windows") return undefined;
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

/** Verifies what a proven hop says of users; undefined when no issuer speaks that way. */
export function verifyVouchedOf(
  { config, clock }: Base,
  sessions: Pick<SessionStore, "notBefore" | "rememberOnce">,
): VerifyVouched | undefined {
  if (config.edgeIssuers.length === 0) return undefined;
  const notBefore: SessionStore["notBefore"] = (key) => sessions.notBefore(key);
  const share = createShareIdentity(notBefore);
  const issuerOf = <Kind extends string>(kind: Kind) =>
    config.edgeIssuers.find(
      (issuer): issuer is Extract<typeof issuer, { kind: Kind }> => issuer.kind === kind,
    );

  const windows = issuerOf("windows");
  const useOnce = createUseOnce({
    startedAt: clock(),
    ...(windows?.nonces !== "here" && {
      rememberOnce: (key, seconds) => sessions.rememberOnce(key, seconds),
    }),
  });
  const verifyWindows = windows && createVerifyWindows({ issuer: windows.name, useOnce });
  const certificates = issuerOf("certificates");
  const verifyCertificate =
    certificates &&
    createVerifyCertificate({
      issuer: certificates.name,
      users: certificates.users,
      service: certificates.service,
      ...(certificates.ca && { authorities: certificates.ca() }),
    });
  const easyAuth = issuerOf("easy-auth");
  const verifyEasyAuth = easyAuth && createVerifyEasyAuth({ issuer: easyAuth.name, tenant: easyAuth.tenant });

  async function verify(proof: VouchedProof, now: EpochSeconds): Promise<Outcome<Identity>> {
    switch (proof.kind) {
      case "windows":
        return verifyWindows ? verifyWindows(proof.signed, now) : unknownIssuer(proof);
      case "certificate": {
        const once = proof.signed ? await useOnce(proof.signed, now) : allowed(undefined);
        if (!once.ok) return once;
        return verifyCertificate ? verifyCertificate(proof.der, now) : unknownIssuer(proof);
      }
      case "easy-auth":
        return verifyEasyAuth ? verifyEasyAuth(proof.principal, now) : unknownIssuer(proof);
    }
  }

  return async function verifyVouched(proof, now) {
    const outcome = await verify(proof, now);
    return outcome.ok ? allowed(share(outcome.value)) : outcome;
  };
}

/** What came is of a kind that no issuer of the configuration speaks. */
function unknownIssuer({ kind }: VouchedProof): Outcome<never> {
  return refused({ reason: "issuer_unknown", issuer: kind });
}
