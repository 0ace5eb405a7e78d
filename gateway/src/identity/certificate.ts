import { hash, X509Certificate } from "node:crypto";
import { userName } from "@countersign/seal";
import { GatewayError } from "../errors.ts";
import { allowed, type Outcome, refused } from "../refusal.ts";
import type { EpochSeconds } from "../time.ts";
import type { Identity } from "./identity.ts";
import { WORD_SECONDS } from "./shared-identity.ts";

/** Bytes of DER; an RSA-4096 certificate with many names has 4 KB. */
const CERTIFICATE_BYTES_MAX = 16_384;
const CLIENT_AUTHENTICATION = "1.3.6.1.5.5.7.3.2";

/** Whose a certificate is. */
export interface CertificateUser {
  readonly user: string;
  /** Whole names, part by part, in the certificate's order or the opposite one, which Windows shows. */
  readonly issuer?: readonly string[];
  readonly subject?: readonly string[];
  /** `email:…`, `dns:…`, `uri:…` or `upn:…` */
  readonly san?: string;
}

export type VerifyCertificate = (der: Uint8Array, now: EpochSeconds) => Outcome<Identity>;

/**
 * Makes the verifier of client certificates that IIS asked for: who showed one has its private key, which only IIS
 * saw. Its chain and revocation are what IIS checked; dates, use and, if given, who issued it are looked at here too.
 *
 * @param issuer      its name in the configuration
 * @param authorities PEM of the authorities that issue them directly; absent: whomever IIS trusts
 * @param users       whose each is; two that fit one certificate are none
 * @throws GatewayError CONFIG_INVALID for authorities that cannot be read
 */
export function createVerifyCertificate({
  issuer,
  authorities,
  users,
  service,
}: {
  readonly issuer: string;
  readonly authorities?: string;
  readonly users: readonly CertificateUser[];
  readonly service: boolean;
}): VerifyCertificate {
  const trusted = authorities === undefined ? undefined : readAuthorities(authorities);

  return function verifyCertificate(der, now) {
    const certificate = der.length <= CERTIFICATE_BYTES_MAX ? parse(der) : undefined;
    if (!certificate) return invalid("it is no certificate");
    const expiresAt = Date.parse(certificate.validTo) / 1_000;
    const validFrom = Date.parse(certificate.validFrom) / 1_000;
    if (!(now < expiresAt)) return refused({ reason: "proof_expired", expiredAt: expiresAt, now });
    if (!(now >= validFrom)) return refused({ reason: "proof_not_yet_valid", validFrom, now });
    if (certificate.ca) return invalid("it is an authority's certificate");
    if (certificate.keyUsage && !certificate.keyUsage.includes(CLIENT_AUTHENTICATION)) {
      return invalid("it is not for clients");
    }
    if (trusted && !trusted.some((authority) => hasIssued(authority, certificate, now))) {
      return invalid("none of the authorities issued it");
    }
    const ids = new Set(users.filter((one) => fits(one, certificate)).map(({ user }) => user));
    const [id = ""] = ids;
    const user = ids.size === 1 ? userName(issuer, id) : undefined;
    if (user === undefined) return invalid(ids.size > 1 ? "it is more than one user's" : "it is nobody's");
    return allowed({
      user,
      issuer,
      id,
      kind: service ? "service" : "user",
      ...(service && { client: id }),
      attributes: Object.create(null),
      proof: { kind: "certificate", hash: hash("sha256", der, "base64url") },
      provedAt: now,
      expiresAt: Math.min(expiresAt, now + WORD_SECONDS),
    });
  };
}

function parse(der: Uint8Array): X509Certificate | undefined {
  try {
    return new X509Certificate(der);
  } catch {
    return undefined;
  }
}

function readAuthorities(pem: string): readonly X509Certificate[] {
  const found = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  const authorities = found.map((each) => parse(Buffer.from(each))).filter((each) => each?.ca === true);
  if (authorities.length === 0 || authorities.length < found.length) {
    throw new GatewayError(
      "CONFIG_INVALID",
      "Cannot use `ca` of client-certificates: expected certificates of authorities in PEM",
    );
  }
  return authorities.filter((each) => each !== undefined);
}

function hasIssued(authority: X509Certificate, certificate: X509Certificate, now: EpochSeconds): boolean {
  const [from, to] = [Date.parse(authority.validFrom) / 1_000, Date.parse(authority.validTo) / 1_000];
  if (!(now >= from && now < to) || !certificate.checkIssued(authority)) return false;
  return certificate.verify(authority.publicKey);
}

function fits({ issuer, subject, san }: CertificateUser, certificate: X509Certificate): boolean {
  if (issuer && !isName(issuer, certificate.issuer)) return false;
  if (subject) return isName(subject, certificate.subject);
  return san !== undefined && namesOf(certificate.subjectAltName ?? "").includes(san);
}

/** node:crypto writes a name as one part on each line, and escapes what would end one. */
function isName(parts: readonly string[], name: string): boolean {
  const wanted = parts.join("\n");
  return wanted === name || parts.toReversed().join("\n") === name;
}

/** By the words of node:crypto for each kind of name. */
const KINDS: readonly (readonly [found: string, ours: string])[] = [
  ["email:", "email:"],
  ["DNS:", "dns:"],
  ["URI:", "uri:"],
  ["othername:UPN:", "upn:"],
];

/**
 * The alternative names that can be mapped, as the configuration writes them.
 *
 * @param text  as node:crypto lists them: separated by `, `, and as a JSON string where a name could end one
 */
function namesOf(text: string): readonly string[] {
  const entries = text.match(/(?:"(?:[^"\\]|\\.)*"|[^",])+/g) ?? [];
  return entries.flatMap((entry) => {
    const plain = entry.trim();
    const kind = KINDS.find(([found]) => plain.startsWith(found));
    return kind && !plain.includes('"') ? [kind[1] + plain.slice(kind[0].length)] : [];
  });
}

function invalid(why: string): Outcome<never> {
  return refused({ reason: "proof_invalid", why: `a client certificate: ${why}` });
}
