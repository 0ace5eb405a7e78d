import assert from "node:assert/strict";
import { before, test } from "node:test";
import type { Refusal } from "../refusal.ts";
import { type CertificateUser, createVerifyCertificate } from "./certificate.ts";

// The library insists on a metadata polyfill for its dependency injection, and then asks it nothing it needs.
Object.assign(Reflect, { getMetadata() {}, getOwnMetadata() {}, defineMetadata() {} });
const x509 = await import("@peculiar/x509");

const now = 1_790_000_000;
const day = 86_400;
const at = (seconds: number): Date => new Date(seconds * 1_000);
const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
const ISSUER = ["CN=Corp Issuing CA", "O=Corp"];

type Authority = { readonly name: string; readonly keys: CryptoKeyPair; readonly pem: string };
let corp: Authority;
let twin: Authority;

async function authority(name: string): Promise<Authority> {
  const keys = await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name,
    notBefore: at(now - 100 * day),
    notAfter: at(now + 100 * day),
    keys,
    signingAlgorithm: ALGORITHM,
    extensions: [new x509.BasicConstraintsExtension(true)],
  });
  return { name, keys, pem: certificate.toString("pem") };
}

before(async () => {
  corp = await authority("CN=Corp Issuing CA, O=Corp");
  // Anybody may make one of the same name.
  twin = await authority("CN=Corp Issuing CA, O=Corp");
});

interface Wanted {
  readonly subject?: string;
  readonly by?: Authority;
  readonly from?: number;
  readonly to?: number;
  readonly san?: ConstructorParameters<typeof x509.SubjectAlternativeNameExtension>[0];
  readonly ca?: boolean;
  readonly usage?: readonly string[];
}

async function issue(wanted: Wanted = {}): Promise<Uint8Array> {
  const {
    subject = "CN=orders, O=Corp",
    by = corp,
    from = now - day,
    to = now + day,
    san,
    ca = false,
    usage,
  } = wanted;
  const keys = await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
  const certificate = await x509.X509CertificateGenerator.create({
    subject,
    issuer: by.name,
    notBefore: at(from),
    notAfter: at(to),
    publicKey: keys.publicKey,
    signingKey: by.keys.privateKey,
    signingAlgorithm: ALGORITHM,
    extensions: [
      new x509.BasicConstraintsExtension(ca),
      ...(usage ? [new x509.ExtendedKeyUsageExtension([...usage])] : []),
      ...(san ? [new x509.SubjectAlternativeNameExtension(san)] : []),
    ],
  });
  return new Uint8Array(certificate.rawData);
}

const bySubject: CertificateUser = { user: "orders", issuer: ISSUER, subject: ["CN=orders", "O=Corp"] };

function verifierOf(
  users: readonly CertificateUser[],
  { ca, service = false }: { readonly ca?: string; readonly service?: boolean } = {},
) {
  return createVerifyCertificate({
    issuer: "certs",
    users,
    service,
    ...(ca !== undefined && { authorities: ca }),
  });
}

async function refusalOf(
  wanted: Wanted,
  verify = verifierOf([bySubject], { ca: corp.pem }),
): Promise<Refusal | undefined> {
  const outcome = verify(await issue(wanted), now);
  return outcome.ok ? undefined : outcome.refusal;
}

function invalid(why: string): Refusal {
  return { reason: "proof_invalid", why: `a client certificate: ${why}` };
}

test("verifyCertificate() maps issuer and subject to a user, in the certificate's order or the opposite one", async () => {
  for (const user of [
    bySubject,
    { ...bySubject, issuer: ISSUER.toReversed(), subject: ["O=Corp", "CN=orders"] },
  ]) {
    const outcome = verifierOf([user], { ca: corp.pem })(await issue(), now);
    assert(outcome.ok, JSON.stringify(outcome));
    const { proof, attributes, ...identity } = outcome.value;
    assert.deepEqual(identity, {
      user: "certs-orders",
      issuer: "certs",
      id: "orders",
      kind: "user",
      provedAt: now,
      expiresAt: now + 3_600,
    });
    assert.equal(proof.kind, "certificate");
    assert.deepEqual({ ...attributes }, {});
  }
  const service = verifierOf([bySubject], { service: true })(await issue(), now);
  assert.deepEqual(service.ok && [service.value.kind, service.value.client], ["service", "orders"]);
});

test("verifyCertificate() maps alternative names of each kind", async () => {
  const der = await issue({
    san: [
      { type: "email", value: "alice@example.com" },
      { type: "dns", value: "orders.example.com" },
      { type: "url", value: "spiffe://example.com/orders" },
    ],
  });
  for (const san of [
    "email:alice@example.com",
    "dns:orders.example.com",
    "uri:spiffe://example.com/orders",
  ]) {
    assert.equal(verifierOf([{ user: "a", san, issuer: ISSUER }])(der, now).ok, true, san);
  }
  for (const san of ["email:alice@example.co", "dns:example.com", "dns:alice@example.com"]) {
    assert.equal(verifierOf([{ user: "a", san, issuer: ISSUER }])(der, now).ok, false, san);
  }
});

test("verifyCertificate() reads no second name out of one that holds a separator", async () => {
  const der = await issue({ san: [{ type: "url", value: "https://x/, DNS:orders.example.com" }] });
  assert.equal(
    verifierOf([{ user: "a", san: "dns:orders.example.com", issuer: ISSUER }])(der, now).ok,
    false,
  );
  const forged = await issue({ subject: 'CN="orders\\0AO=Corp"' });
  assert.equal(verifierOf([bySubject])(forged, now).ok, false);
});

test("verifyCertificate() refuses nobody's, and one that is two users'", async () => {
  assert.deepEqual(await refusalOf({ subject: "CN=orders" }), invalid("it is nobody's"));
  assert.deepEqual(await refusalOf({ subject: "CN=orders, O=Corp, OU=x" }), invalid("it is nobody's"));
  const two = verifierOf([bySubject, { ...bySubject, user: "other" }]);
  assert.deepEqual(await refusalOf({}, two), invalid("it is more than one user's"));
  assert.equal(await refusalOf({}, verifierOf([bySubject, bySubject])), undefined);
  const otherIssuer = verifierOf([{ ...bySubject, issuer: ["CN=Other CA"] }]);
  assert.deepEqual(await refusalOf({}, otherIssuer), invalid("it is nobody's"));
});

test("verifyCertificate() refuses one before and after its time, to the second", async () => {
  assert.deepEqual(await refusalOf({ to: now }), { reason: "proof_expired", expiredAt: now, now });
  assert.deepEqual(await refusalOf({ from: now + 1 }), {
    reason: "proof_not_yet_valid",
    validFrom: now + 1,
    now,
  });
  const ending = verifierOf([bySubject])(await issue({ to: now + 60 }), now);
  assert.equal(ending.ok && ending.value.expiresAt, now + 60);
});

test("verifyCertificate() refuses one of an authority that only has the name, where authorities are given", async () => {
  assert.deepEqual(await refusalOf({ by: twin }), invalid("none of the authorities issued it"));
  assert.equal(
    await refusalOf({ by: twin }, verifierOf([bySubject], { ca: `${corp.pem}\n${twin.pem}` })),
    undefined,
  );
});

test("verifyCertificate() refuses an authority's own, one that is not for clients, and what is none", async () => {
  assert.deepEqual(await refusalOf({ ca: true }), invalid("it is an authority's certificate"));
  assert.deepEqual(await refusalOf({ usage: ["1.3.6.1.5.5.7.3.1"] }), invalid("it is not for clients"));
  assert.equal(await refusalOf({ usage: ["1.3.6.1.5.5.7.3.2"] }), undefined);
  const verify = verifierOf([bySubject]);
  for (const der of [new Uint8Array(), Buffer.from("no certificate"), new Uint8Array(20_000)]) {
    assert.deepEqual(verify(der, now), { ok: false, refusal: invalid("it is no certificate") });
  }
});

test("createVerifyCertificate() refuses authorities that are none", async () => {
  const leaf = Buffer.from(await issue()).toString("base64");
  for (const ca of ["", "x", `-----BEGIN CERTIFICATE-----\n${leaf}\n-----END CERTIFICATE-----`]) {
    assert.throws(() => verifierOf([], { ca }), { code: "CONFIG_INVALID" });
  }
});
