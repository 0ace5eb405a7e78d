import { hash } from "node:crypto";
import { allowed, type Outcome, type Refusal, refused } from "../refusal.ts";
import { addressOf, lastElementOf, schemeOf } from "./forwarded.ts";
import {
  ANCM_HEADERS,
  ARR_CERTIFICATE_HEADER,
  EASY_AUTH_PREFIXES,
  EASY_AUTH_PRINCIPAL_HEADER,
  IDENTITY_HEADER,
  PROOF_HEADER,
} from "./headers.ts";
import type { Arrived, Hop, JudgeHop, Vouched } from "./hop.ts";
import { isOneOf } from "./same-secret.ts";
import type { SignedIdentity } from "./signed-identity.ts";
import { type Claims, MADE_UP, takeClaims, takeSpentAuthorization, valuesOf } from "./take-headers.ts";

/** How one kind of hop proves itself, and what it may say. */
interface Kind {
  /** @returns why it is not proven; undefined when it is */
  readonly unproven: (claims: Claims, request: Arrived) => Refusal | undefined;
  /** The claims it may make; any other is a client's. */
  readonly mayClaim: (name: string) => boolean;
  readonly vouched: (claims: Claims, request: Arrived) => Outcome<Vouched>;
  /** Whether its `X-Forwarded-*` count. */
  readonly forwards: boolean;
  /** Whether it signs users in by `Authorization` itself, and passes that on. */
  readonly signsIn?: boolean;
  readonly requestIdOf?: (request: Arrived) => string | undefined;
}

/** Opens `Countersign-Identity` for a request of this method, now. Absent when no issuer has its key. */
export type OpenSigned = (header: string, method: string) => Outcome<SignedIdentity>;

/**
 * Nothing in front, or nothing that proves itself: every claim is a client's. Inside App Service with its
 * authentication on, the platform takes away what a client sends under its names [1].
 *
 * @param options.easyAuth  whether this is inside App Service, with its authentication on
 * @source [1] App Service, "Work with user identities": "External requests aren't allowed to set these headers"
 */
export function judgeDirect({ easyAuth }: { readonly easyAuth: boolean }): JudgeHop {
  return judgeBy({
    unproven: () => undefined,
    mayClaim: (name) => easyAuth && EASY_AUTH_PREFIXES.some((prefix) => name.startsWith(prefix)),
    vouched: (claims) => allowed(given("easyAuth", claims.get(EASY_AUTH_PRINCIPAL_HEADER))),
    forwards: false,
  });
}

/**
 * ASP.NET Core Module V2: each request has the pairing token of this process, and every other header of its prefix is
 * the module's, since it deletes a client's first.
 *
 * @source dotnet/aspnetcore, forwardinghandler.cpp `GetHeaders`; IISMiddleware.cs answers a wrong token with 400
 */
export function judgeAncm({
  token,
  openSigned,
  takesCertificates,
}: {
  readonly token: () => string;
  readonly openSigned?: OpenSigned | undefined;
  /** Whether an issuer knows whose they are; else one that a browser shows is nothing to us. */
  readonly takesCertificates: boolean;
}): JudgeHop {
  const known: ReadonlySet<string> = new Set(Object.values(ANCM_HEADERS));
  return judgeBy({
    unproven: (claims) => {
      if (!isOneOf(claims.get(ANCM_HEADERS.token) ?? "", [token()]))
        return unproven("the pairing token of IIS");
      // Each is a handle that this process can never close: hours later Windows has none left for it.
      return claims.has(ANCM_HEADERS.windowsToken) ? { reason: "hop_unfit", why: WINDOWS_TOKEN } : undefined;
    },
    mayClaim: (name) => known.has(name) || (openSigned !== undefined && name === IDENTITY_HEADER),
    vouched: (claims, request) => {
      const signed = signedOf(claims, request, openSigned);
      if (!signed.ok) return signed;
      const certificate = takesCertificates ? claims.get(ANCM_HEADERS.clientCertificate) : undefined;
      return allowed({
        ...given("signed", signed.value),
        ...given("certificate", certificate === undefined ? undefined : Buffer.from(certificate, "base64")),
      });
    },
    forwards: true,
    signsIn: openSigned !== undefined,
  });
}

/** What an operator reads in the log. */
const WINDOWS_TOKEN =
  'IIS hands over a token handle with each request, which Node cannot close: set forwardWindowsAuthToken="false" on <aspNetCore> in web.config';

/** How Application Request Routing proves itself: by all of these that are there, and at least one is. */
export interface ArrProofs {
  /** One value, or two while it is being replaced, of the header that the rewrite rule sets. */
  readonly secrets?: (() => readonly string[]) | undefined;
  /** The listener asked for a client certificate. */
  readonly mutualTls: boolean;
  readonly openSigned?: OpenSigned | undefined;
  /** Whether an issuer knows whose they are; else one that a browser shows is nothing to us. */
  readonly takesCertificates: boolean;
  /** Whether each request must be signed by our module, since nothing else proves where it came from. */
  readonly signatureNeeded: boolean;
}

/**
 * Application Request Routing with URL Rewrite. It has no proof of its own: a secret that the rule sets, a client
 * certificate, or the signature of our module.
 *
 * Whether ARR takes away a client's own `X-ARR-ClientCert` is not known. Our module does, before ARR sets it, and signs
 * the hash of the certificate that IIS saw; so the header counts only if that is its hash.
 */
export function judgeArr(proofs: ArrProofs): JudgeHop {
  const { secrets, mutualTls, openSigned, takesCertificates, signatureNeeded } = proofs;
  return judgeBy({
    unproven: (claims, request) => {
      if (mutualTls && !isAuthorized(request)) return unproven("the client certificate of IIS");
      if (secrets && !isOneOf(claims.get(PROOF_HEADER) ?? "", secrets())) {
        return unproven("the secret of its rewrite rule");
      }
      return signatureNeeded && !claims.has(IDENTITY_HEADER)
        ? unproven("the signature of its module")
        : undefined;
    },
    mayClaim: (name) =>
      name === ARR_CERTIFICATE_HEADER ||
      (name === PROOF_HEADER && secrets !== undefined) ||
      (name === IDENTITY_HEADER && openSigned !== undefined),
    vouched: (claims, request) => {
      const signed = signedOf(claims, request, openSigned);
      if (!signed.ok) return signed;
      const certificate = takesCertificates ? arrCertificateOf(claims, signed.value) : allowed(undefined);
      if (!certificate.ok) return certificate;
      return allowed({ ...given("signed", signed.value), ...given("certificate", certificate.value) });
    },
    forwards: true,
    signsIn: openSigned !== undefined,
  });
}

function arrCertificateOf(
  claims: Claims,
  signed: SignedIdentity | undefined,
): Outcome<Uint8Array | undefined> {
  const header = claims.get(ARR_CERTIFICATE_HEADER);
  if (header === undefined || header === "") return allowed(undefined);
  const der = Buffer.from(header, "base64");
  return signed?.certificateHash === hash("sha256", der, "hex")
    ? allowed(der)
    : refused({
        reason: "proof_invalid",
        why: "a client certificate that the module of IIS does not confirm",
      });
}

/** Another proxy, which says where a request came from and nothing of who sent it. */
export function judgeProxy({
  mutualTls,
  requestIdOf,
}: {
  readonly mutualTls: boolean;
  /** Present when the proxy overwrites the request id that a visitor sends. */
  readonly requestIdOf?: ((request: Arrived) => string | undefined) | undefined;
}): JudgeHop {
  return judgeBy({
    unproven: (_claims, request) =>
      mutualTls && !isAuthorized(request) ? unproven("the client certificate of the proxy") : undefined,
    mayClaim: () => false,
    vouched: () => allowed({}),
    forwards: true,
    ...(requestIdOf && { requestIdOf }),
  });
}

function judgeBy(kind: Kind): JudgeHop {
  const { unproven: unprovenBy, mayClaim, vouched, forwards, signsIn = false, requestIdOf } = kind;
  return function judgeHop(request): Outcome<Hop> {
    const { claims, fault } = takeClaims(request);
    if (signsIn) takeSpentAuthorization(request);
    const refusal = unprovenBy(claims, request) ?? fault ?? madeUpIn(claims, mayClaim);
    if (refusal) return refused(refusal);
    const said = vouched(claims, request);
    if (!said.ok) return said;
    return allowed({
      forwards,
      ...(forwards && forwardedOf(request)),
      ...given("requestId", requestIdOf?.(request)),
      ...given("event", claims.get(ANCM_HEADERS.event)?.trim()),
      vouched: said.value,
    });
  };
}

function madeUpIn(claims: Claims, mayClaim: Kind["mayClaim"]): Refusal | undefined {
  for (const name of claims.keys()) {
    if (!mayClaim(name)) return { reason: "proof_malformed", why: MADE_UP };
  }
  return undefined;
}

function signedOf(
  claims: Claims,
  { method = "" }: Arrived,
  openSigned: OpenSigned | undefined,
): Outcome<SignedIdentity | undefined> {
  const header = claims.get(IDENTITY_HEADER);
  return header === undefined || !openSigned ? allowed(undefined) : openSigned(header, method);
}

function forwardedOf(request: Arrived): Pick<Hop, "caller" | "scheme"> {
  return {
    ...given("caller", addressOf(lastElementOf(valuesOf(request, "x-forwarded-for")))),
    ...given("scheme", schemeOf(lastElementOf(valuesOf(request, "x-forwarded-proto")))),
  };
}

function isAuthorized({ socket }: Arrived): boolean {
  return "authorized" in socket && socket.authorized === true;
}

function unproven(proof: string): Refusal {
  return { reason: "hop_unproven", proof };
}

/** A member only if there is one. */
function given<Name extends string, Value>(
  name: Name,
  value: Value | undefined,
): { readonly [Key in Name]?: Value } {
  return value === undefined ? {} : ({ [name]: value } as { readonly [Key in Name]: Value });
}
