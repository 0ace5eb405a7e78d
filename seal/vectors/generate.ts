/** Writes the vectors: `node seal/vectors/generate.ts`. Made by hand from the format's words, not by `sealTree`. */
import { createHash } from "node:crypto";
import { readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { publicJwk, signDeterministically } from "./deterministic-es256.ts";
import { TEST_ONLY_PRIVATE_KEY } from "./test-only-key.ts";
import type { Vector, VectorOptions, VectorSummary } from "./vector.ts";

const SEALED_AT = 1_795_000_000;
const HOUR = 3_600;
const KID = "2026-11-a";
const ID = "01a1e0a2-5b80-7001-8f00-000000000001";
const TXN = "01a1e0a2-5b80-7000-8f00-000000000000";
const SUBJECT = "orders.eu.4711.create";
const PAYLOAD = '{"item":"tea","amount":2}';
const CONTENT_TYPE: Header = ["Content-Type", "application/json"];

type Header = readonly [name: string, value: string];
type Json = Readonly<Record<string, unknown>>;

const CLAIMS = {
  iss: "https://apps.example.com/bus",
  aud: "example.com",
  iat: SEALED_AT,
  exp: SEALED_AT + 60,
  txn: TXN,
  sub: "entra-1b7e4c00-0000-0000-0000-00000000a11c",
  req_wl: "countersign/web-eu1",
  scope: "publish:orders.eu.*.create",
  tctx: { msg: { s: SUBJECT, d: sha256(PAYLOAD), id: ID, h: sha256("Content-Type: application/json\n") } },
  rctx: { rid: TXN },
};

const SEALING_JWK = {
  ...publicJwk(TEST_ONLY_PRIVATE_KEY),
  kid: KID,
  alg: "ES256",
  use: "sig",
  nbf: SEALED_AT - 24 * HOUR,
  exp: SEALED_AT + 24 * HOUR,
};

const OPTIONS: VectorOptions = { issuer: CLAIMS.iss, audience: CLAIMS.aud, now: SEALED_AT + 1 };

const SUMMARY: VectorSummary = {
  user: CLAIMS.sub,
  issuer: "entra",
  userId: "1b7e4c00-0000-0000-0000-00000000a11c",
  id: ID,
  txn: TXN,
  headers: [CONTENT_TYPE],
};

const REPLY_CLAIMS = {
  ...CLAIMS,
  sub: "entra-inventory",
  scope: "respond:inventory.check",
  tctx: { msg: { re: "request-1", d: CLAIMS.tctx.msg.d, id: ID, h: CLAIMS.tctx.msg.h } },
};

/** Claims with members of `tctx.msg` replaced. */
function withMessage(message: Json): Json {
  return { ...CLAIMS, tctx: { msg: { ...CLAIMS.tctx.msg, ...message } } };
}

interface JwsParts {
  readonly header?: Json;
  readonly privateKey?: bigint;
}

function jws(
  typ: string,
  payload: string,
  { header = {}, privateKey = TEST_ONLY_PRIVATE_KEY }: JwsParts = {},
): string {
  const input = `${base64url(JSON.stringify({ alg: "ES256", typ, kid: KID, ...header }))}.${base64url(payload)}`;
  return `${input}.${signDeterministically(input, privateKey).toString("base64url")}`;
}

interface TreeParts extends JwsParts {
  /** Text of the claims, where JSON.stringify would not write them so. */
  readonly text?: string;
  readonly index?: number;
  readonly size?: number;
  readonly root?: Json;
}

/** The three headers of a leaf whose neighbours are made up, and `Nats-Msg-Id`. */
function tree(
  claims: Json = CLAIMS,
  { index = 0, size = 1, root = {}, text, ...parts }: TreeParts = {},
): Header[] {
  const json = text ?? JSON.stringify(claims);
  const leaves = Array.from({ length: size }, (_, place) =>
    place === index ? json : `neighbour ${place}`,
  ).map(leaf);
  const { iss, aud, iat, exp } = CLAIMS;
  const payload = { iss, aud, iat, exp, n: size, root: rootOf(leaves).toString("base64url"), ...root };
  return [
    ["Seal-Claims", base64url(json)],
    [
      "Seal-Path",
      [String(index), ...pathOf(leaves, index).map((hash) => hash.toString("base64url"))].join("."),
    ],
    ["Seal-Root", jws("seal-root+jwt", JSON.stringify(payload), parts)],
    ["Nats-Msg-Id", ID],
  ];
}

function token(claims: Json = CLAIMS, parts: JwsParts = {}): Header[] {
  return [
    ["Txn-Token", jws("txntoken+jwt", JSON.stringify(claims), parts)],
    ["Nats-Msg-Id", ID],
  ];
}

/** RFC 6962 §2.1, word for word. */
function rootOf(leaves: readonly Buffer[]): Buffer {
  const [only] = leaves;
  if (leaves.length === 1 && only) return only;
  const k = splitOf(leaves.length);
  return sha256Bytes(Buffer.concat([Buffer.of(1), rootOf(leaves.slice(0, k)), rootOf(leaves.slice(k))]));
}

/** RFC 6962 §2.1.1. */
function pathOf(leaves: readonly Buffer[], index: number): Buffer[] {
  if (leaves.length === 1) return [];
  const k = splitOf(leaves.length);
  const [left, right] = [leaves.slice(0, k), leaves.slice(k)];
  return index < k ? [...pathOf(left, index), rootOf(right)] : [...pathOf(right, index - k), rootOf(left)];
}

function splitOf(size: number): number {
  return 2 ** (Math.ceil(Math.log2(size)) - 1);
}

function leaf(claims: string): Buffer {
  return sha256Bytes(Buffer.from(`\0countersign-seal-v1\0${claims}`));
}

function replaced(headers: readonly Header[], name: string, value: (old: string) => string): Header[] {
  return headers.map(([n, v]): Header => (n === name ? [n, value(v)] : [n, v]));
}

function without(headers: readonly Header[], name: string): Header[] {
  return headers.filter(([n]) => n !== name);
}

interface Given {
  readonly subject?: string;
  /** Those of the seal. */
  readonly seal?: readonly Header[];
  /** The message's own. */
  readonly headers?: readonly Header[];
  readonly payload?: string;
  readonly jwks?: Vector["jwks"];
  readonly options?: Partial<VectorOptions>;
}

function vector(description: string, given: Given, expected: Vector["expected"]): Vector {
  const { subject = SUBJECT, seal = tree(), headers = [CONTENT_TYPE], payload = PAYLOAD } = given;
  return {
    description,
    message: {
      subject,
      headers: [...headers, ...seal],
      payloadBase64: Buffer.from(payload).toString("base64"),
    },
    jwks: given.jwks === undefined ? { keys: [SEALING_JWK] } : given.jwks,
    options: { ...OPTIONS, ...given.options },
    expected,
  };
}

function valid(description: string, given: Given = {}, summary: Partial<VectorSummary> = {}): Vector {
  return vector(description, given, { ok: { ...SUMMARY, ...summary } });
}

type Code = Extract<Vector["expected"], { code: unknown }>["code"];

function refused(code: Code, description: string, given: Given): Vector {
  return vector(description, given, { code });
}

const AGENT_CLAIMS = {
  ...CLAIMS,
  act: { sub: "entra-billing-agent" },
  rctx: { rid: "r-1", acr: "mfa", sid: sha256("session"), name: "Zoë Ångström", ip: "192.0.2.7" },
};
const SUB_TEXT = `"sub":${JSON.stringify(CLAIMS.sub)}`;
const CLAIMS_TEXT = JSON.stringify(CLAIMS);
const OTHER_KEY = TEST_ONLY_PRIVATE_KEY + 1n;

const VALID: Readonly<Record<string, Vector>> = {
  "tree-alone": valid("A tree of one: an empty path."),
  "tree-first-of-five": valid("The first of five leaves.", { seal: tree(CLAIMS, { size: 5 }) }),
  "tree-last-of-five": valid("The last of five leaves: its path is one hash.", {
    seal: tree(CLAIMS, { size: 5, index: 4 }),
  }),
  "tree-last-of-seven": valid("The last of seven leaves.", { seal: tree(CLAIMS, { size: 7, index: 6 }) }),
  "tree-of-1024": valid("A leaf of the largest tree.", { seal: tree(CLAIMS, { size: 1_024, index: 511 }) }),
  token: valid("The other form.", { seal: token() }),
  "token-delegated": valid(
    "An agent acts for the user; every optional member is there, one outside ASCII.",
    { seal: token(AGENT_CLAIMS) },
    { actor: "entra-billing-agent", name: "Zoë Ångström" },
  ),
  "escaped-user": valid(
    "The user's id has characters that a subject token cannot hold.",
    { seal: tree({ ...CLAIMS, sub: "iis-CORP=5Cj=C3=B6rg" }) },
    { user: "iis-CORP=5Cj=C3=B6rg", issuer: "iis", userId: "CORP\\jörg" },
  ),
  "no-headers": valid(
    "No header is covered.",
    { headers: [], seal: tree(withMessage({ h: sha256("") })) },
    { headers: [] },
  ),
  "headers-sorted": valid(
    "Lines are sorted by bytes: upper before lower case, and a name that repeats by its values.",
    {
      headers: [
        ["b", "2"],
        ["a", "1"],
        ["B", "3"],
        ["b", "1"],
      ],
      seal: tree(withMessage({ h: sha256("B: 3\na: 1\nb: 1\nb: 2\n") })),
    },
    {
      headers: [
        ["b", "2"],
        ["a", "1"],
        ["B", "3"],
        ["b", "1"],
      ],
    },
  ),
  "headers-uncovered": valid(
    "Headers of nats-server and of tracing lie outside the seal, and are not shown.",
    {
      headers: [
        CONTENT_TYPE,
        ["traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"],
        ["nats-stream", "ORDERS"],
      ],
    },
  ),
  "unknown-members": valid("Members unknown to the verifier, outside tctx.msg.", {
    seal: tree({ ...CLAIMS, azp: "web", rctx: { ...CLAIMS.rctx, device: { id: 7 } } }),
  }),
  "stream-years-later": valid(
    "Read from a stream long after exp: the broker's time counts. The key is retired.",
    {
      options: { now: SEALED_AT + 20_000 * HOUR, brokerTime: SEALED_AT + 2 },
    },
  ),
  "time-earliest": valid("The broker's clock is 5 seconds behind.", {
    options: { brokerTime: SEALED_AT - 5 },
  }),
  "time-latest": valid("The broker took it 5 seconds after exp.", {
    options: { brokerTime: SEALED_AT + 65, now: SEALED_AT + 65 },
  }),
  transformed: valid("A configured transform renamed the subject.", {
    subject: "from-shop.orders.eu.4711.create",
    options: { transform: { sealed: SUBJECT, received: "from-shop.orders.eu.4711.create" } },
  }),
  reply: valid(
    "A reply, on an inbox that is not sealed.",
    { subject: "_INBOX.abc.1", seal: tree(REPLY_CLAIMS), options: { replyTo: "request-1" } },
    { user: "entra-inventory", userId: "inventory" },
  ),
  authorized: valid(
    "The revocation source knows nothing against it.",
    { options: { revocation: "clear" } },
    { authorizedNow: true },
  ),
  "revoked-since": valid(
    "Authentic at publish, and revoked since.",
    { options: { revocation: "revoked" } },
    { authorizedNow: false },
  ),
};

const REFUSED: Readonly<Record<string, Vector>> = {
  "too-large": refused("too_large", "Seal-Root exceeds 2,048 characters.", {
    seal: replaced(tree(), "Seal-Root", (old) => old + "A".repeat(2_048)),
  }),
  "too-large-headers": refused("too_large", "The headers together exceed 64 KiB.", {
    headers: [CONTENT_TYPE, ["x", "y".repeat(65_536)]],
  }),
  "seal-missing": refused("seal_missing", "No seal at all.", { seal: [["Nats-Msg-Id", ID]] }),
  "seal-twice": refused("seal_ambiguous", "The same token twice.", {
    seal: [...token(), ...token()].slice(0, 3),
  }),
  "seal-twin": refused("seal_ambiguous", "Claims of a second seal, in another case.", {
    seal: [...tree(), ["seal-claims", base64url(JSON.stringify({ ...CLAIMS, sub: "entra-mallory" }))]],
  }),
  "seal-both-forms": refused("seal_ambiguous", "Both forms, each of them valid.", {
    seal: [...tree(), ...without(token(), "Nats-Msg-Id")],
  }),
  "seal-incomplete": refused("seal_incomplete", "Seal-Path is missing.", {
    seal: without(tree(), "Seal-Path"),
  }),
  "encoding-padding": refused("encoding_invalid", "Base64 padding.", {
    seal: replaced(tree(), "Seal-Claims", (old) => `${old}==`),
  }),
  "encoding-trailing-bits": refused(
    "encoding_invalid",
    "The last character of the signature has spare bits set.",
    {
      seal: replaced(token(), "Txn-Token", (old) => old.slice(0, -1) + nextCharacter(old.slice(-1))),
    },
  ),
  "encoding-duplicate-key": refused(
    "encoding_invalid",
    "Two members sub, the second written with an escape.",
    {
      seal: tree(CLAIMS, { text: CLAIMS_TEXT.replace(SUB_TEXT, `${SUB_TEXT},"su\\u0062":"entra-mallory"`) }),
    },
  ),
  "encoding-byte-order-mark": refused("encoding_invalid", "A byte order mark before the claims.", {
    seal: tree(CLAIMS, { text: `\ufeff${CLAIMS_TEXT}` }),
  }),
  "encoding-depth": refused("encoding_invalid", "An unknown member nine levels deep.", {
    seal: tree(CLAIMS, {
      text: CLAIMS_TEXT.replace(SUB_TEXT, `${SUB_TEXT},"x":${"[".repeat(8)}${"]".repeat(8)}`),
    }),
  }),
  "encoding-two-parts": refused("encoding_invalid", "A JWS without signature.", {
    seal: replaced(token(), "Txn-Token", (old) => old.slice(0, old.lastIndexOf("."))),
  }),
  "encoding-four-parts": refused("encoding_invalid", "A JWS with a fourth part.", {
    seal: replaced(token(), "Txn-Token", (old) => `${old}.AAAA`),
  }),
  "typ-access-token": refused("typ_wrong", "An access token in place of a seal.", {
    seal: token(CLAIMS, { header: { typ: "at+jwt" } }),
  }),
  "typ-token-as-root": refused("typ_wrong", "A token in place of a root.", {
    seal: tree(CLAIMS, { header: { typ: "txntoken+jwt" } }),
  }),
  "typ-root-as-token": refused("typ_wrong", "A root in place of a token.", {
    seal: token(CLAIMS, { header: { typ: "seal-root+jwt" } }),
  }),
  "alg-none": refused("alg_wrong", "The algorithm none.", {
    seal: token(CLAIMS, { header: { alg: "none" } }),
  }),
  "alg-hs256": refused("alg_wrong", "HMAC, with a public key for a secret.", {
    seal: token(CLAIMS, { header: { alg: "HS256" } }),
  }),
  "header-jwk": refused("header_invalid", "The message brings its own key.", {
    seal: token(CLAIMS, { header: { jwk: publicJwk(OTHER_KEY) }, privateKey: OTHER_KEY }),
  }),
  "header-crit": refused("header_invalid", "A critical extension.", {
    seal: tree(CLAIMS, { header: { crit: ["exp"] } }),
  }),
  "header-kid-path": refused("header_invalid", "A kid that is a path.", {
    seal: token(CLAIMS, { header: { kid: "../../keys" } }),
  }),
  "keys-unavailable": refused("keys_unavailable", "The key set cannot be read.", { jwks: null }),
  "kid-unknown": refused("kid_unknown", "Another kid.", {
    seal: tree(CLAIMS, { header: { kid: "2026-12-b" } }),
  }),
  "kid-not-for-sealing": refused("kid_unknown", "The key of that kid is for encryption.", {
    jwks: { keys: [{ ...SEALING_JWK, use: "enc" }] },
  }),
  "key-revoked": refused("key_revoked", "The key was withdrawn after it sealed this.", {
    jwks: { keys: [{ ...SEALING_JWK, revoked: { revoked_at: SEALED_AT + HOUR } }] },
  }),
  "signature-wrong-tree": refused("signature_wrong", "Signed by another key under the same kid.", {
    seal: tree(CLAIMS, { privateKey: OTHER_KEY }),
  }),
  "signature-wrong-token": refused("signature_wrong", "Signed by another key under the same kid.", {
    seal: token(CLAIMS, { privateKey: OTHER_KEY }),
  }),
  "root-empty-tree": refused("root_invalid", "n is 0.", { seal: tree(CLAIMS, { root: { n: 0 } }) }),
  "root-tree-too-large": refused("root_invalid", "n is 1,025.", {
    seal: tree(CLAIMS, { root: { n: 1_025 } }),
  }),
  "root-unknown-member": refused("root_invalid", "A member besides the six.", {
    seal: tree(CLAIMS, { root: { sub: CLAIMS.sub } }),
  }),
  "claims-unknown-binding": refused(
    "claims_invalid",
    "A member of tctx.msg that the verifier does not know.",
    {
      seal: tree(withMessage({ x: "1" })),
    },
  ),
  "claims-subject-and-reply": refused("claims_invalid", "Both s and re.", {
    seal: tree({ ...REPLY_CLAIMS, tctx: { msg: { ...REPLY_CLAIMS.tctx.msg, s: SUBJECT } } }),
    options: { replyTo: "request-1" },
  }),
  "claims-reply-in-scope-of-message": refused("claims_invalid", "A reply under the scope of a message.", {
    seal: tree({ ...REPLY_CLAIMS, scope: CLAIMS.scope }),
    options: { replyTo: "request-1" },
  }),
  "claims-neither": refused("claims_invalid", "Neither s nor re.", {
    seal: tree(withMessage({ s: undefined })),
  }),
  "claims-audience-list": refused("claims_invalid", "aud is a list.", {
    seal: token({ ...CLAIMS, aud: [CLAIMS.aud, "other"] }),
  }),
  "claims-long-life": refused("claims_invalid", "exp is an hour after iat.", {
    seal: token({ ...CLAIMS, exp: SEALED_AT + HOUR }),
  }),
  "claims-user-not-canonical": refused("claims_invalid", "sub escapes a letter without need.", {
    seal: tree({ ...CLAIMS, sub: "entra-=61lice" }),
  }),
  "claims-scope-of-reply": refused("claims_invalid", "A message under the scope of a reply.", {
    seal: tree({ ...CLAIMS, scope: `respond:${SUBJECT}` }),
  }),
  "claims-wildcard-subject": refused("claims_invalid", "s is a pattern.", {
    subject: "orders.eu.*.create",
    seal: tree(withMessage({ s: "orders.eu.*.create" })),
  }),
  "path-index-beyond": refused("path_invalid", "The index is n, and the path that of the first leaf.", {
    seal: replaced(tree(CLAIMS, { size: 4 }), "Seal-Path", (old) => old.replace("0.", "4.")),
  }),
  "path-leading-zero": refused("path_invalid", "The index has a leading zero.", {
    seal: replaced(tree(), "Seal-Path", () => "00"),
  }),
  "path-too-long": refused("path_invalid", "One hash too many.", {
    seal: replaced(tree(), "Seal-Path", (old) => `${old}.${sha256("x")}`),
  }),
  "path-too-short": refused("path_invalid", "One hash too few.", {
    seal: replaced(tree(CLAIMS, { size: 4 }), "Seal-Path", (old) => old.slice(0, old.lastIndexOf("."))),
  }),
  "path-trailing-bits": refused("path_invalid", "A hash with spare bits set.", {
    seal: replaced(
      tree(CLAIMS, { size: 2 }),
      "Seal-Path",
      (old) => old.slice(0, -1) + nextCharacter(old.slice(-1)),
    ),
  }),
  "root-mismatch-claims": refused("root_mismatch", "Claims of another user under the same root.", {
    seal: replaced(tree(CLAIMS, { size: 5 }), "Seal-Claims", () =>
      base64url(JSON.stringify({ ...CLAIMS, sub: "entra-mallory" })),
    ),
  }),
  "root-mismatch-index": refused("root_mismatch", "The index of a neighbour.", {
    seal: replaced(tree(CLAIMS, { size: 4, index: 0 }), "Seal-Path", (old) => old.replace("0.", "1.")),
  }),
  "claims-mismatch": refused("claims_mismatch", "The root's exp is earlier than the claims'.", {
    seal: tree(CLAIMS, { root: { exp: SEALED_AT + 30 } }),
  }),
  "issuer-wrong": refused("issuer_wrong", "Another gateway, with a key of the set.", {
    options: { issuer: "https://other.example.com/bus" },
  }),
  "audience-wrong": refused("audience_wrong", "Sealed in staging, read in production.", {
    options: { audience: "production.example.com" },
  }),
  "key-not-yet": refused("key_not_valid", "The key comes into use later.", {
    jwks: { keys: [{ ...SEALING_JWK, nbf: SEALED_AT + 1 }] },
  }),
  "key-retired": refused("key_not_valid", "The key was retired before.", {
    jwks: { keys: [{ ...SEALING_JWK, exp: SEALED_AT - 1 }] },
  }),
  "too-early": refused("too_early", "The broker took it 6 seconds before iat.", {
    options: { brokerTime: SEALED_AT - 6 },
  }),
  expired: refused("expired", "The broker took it 6 seconds after exp.", {
    options: { brokerTime: SEALED_AT + 66, now: SEALED_AT + HOUR },
  }),
  "expired-core": refused("expired", "Core NATS: received an hour later.", {
    options: { now: SEALED_AT + HOUR },
  }),
  stale: refused("stale", "Older than the reader accepts.", {
    options: { now: SEALED_AT + HOUR, brokerTime: SEALED_AT + 1, maxAgeSeconds: 600 },
  }),
  "reply-unexpected": refused("reply_wrong", "A reply where a message was expected.", {
    subject: "_INBOX.abc.1",
    seal: tree(REPLY_CLAIMS),
  }),
  "reply-to-another": refused("reply_wrong", "The reply to another request.", {
    subject: "_INBOX.abc.1",
    seal: tree(REPLY_CLAIMS),
    options: { replyTo: "request-2" },
  }),
  "reply-is-message": refused("reply_wrong", "A message where a reply was expected.", {
    options: { replyTo: "request-1" },
  }),
  "subject-wrong": refused("subject_wrong", "Received on another subject, within the same scope.", {
    subject: "orders.eu.4712.create",
  }),
  "out-of-scope": refused("out_of_scope", "The sealed subject is not in the sealed scope.", {
    subject: "orders.us.1.create",
    seal: tree(withMessage({ s: "orders.us.1.create" })),
  }),
  "payload-changed": refused("payload_changed", "Another payload.", {
    payload: '{"item":"tea","amount":200}',
  }),
  "header-added": refused("headers_changed", "A header was added.", {
    headers: [CONTENT_TYPE, ["Priority", "high"]],
  }),
  "header-removed": refused("headers_changed", "A header was taken away.", { headers: [] }),
  "header-changed": refused("headers_changed", "A header has another value.", {
    headers: [["Content-Type", "text/html"]],
  }),
  "header-lines-joined": refused(
    "headers_changed",
    "Two sealed headers arrive as one, with a line feed in its value.",
    {
      headers: [["a", "1\nb: 2"]],
      seal: tree(withMessage({ h: sha256("a: 1\nb: 2\n") })),
    },
  ),
  "header-name-with-colon": refused(
    "headers_changed",
    "A sealed header arrives with the colon in another place.",
    {
      headers: [["a: b", "c"]],
      seal: tree(withMessage({ h: sha256("a: b: c\n") })),
    },
  ),
  "id-missing": refused("id_wrong", "No Nats-Msg-Id.", { seal: without(tree(), "Nats-Msg-Id") }),
  "id-other": refused("id_wrong", "Another Nats-Msg-Id, past the stream's memory.", {
    seal: replaced(tree(), "Nats-Msg-Id", () => "01a1e0a2-5b80-7002-8f00-000000000002"),
  }),
  "id-twice": refused("id_wrong", "A second Nats-Msg-Id, in another case.", {
    seal: [...tree(), ["nats-msg-id", ID]],
  }),
  "revocation-unavailable": refused("revocation_unavailable", "The revocation source fails.", {
    options: { revocation: "unavailable" },
  }),
};

/** By file name, without `.json`. */
export function createVectors(): Readonly<Record<string, Vector>> {
  const named = (prefix: string, vectors: Readonly<Record<string, Vector>>) =>
    Object.entries(vectors).map(([name, vector]) => [`${prefix}-${name}`, vector] as const);
  return Object.fromEntries([...named("valid", VALID), ...named("refused", REFUSED)]);
}

export function formatVector(vector: Vector): string {
  return `${JSON.stringify(vector, null, 2)}\n`;
}

/** The next letter of the base64url alphabet: the same bytes, with a spare bit set. */
function nextCharacter(character: string): string {
  return String.fromCharCode(character.charCodeAt(0) + 1);
}

function base64url(text: string): string {
  return Buffer.from(text, "utf8").toString("base64url");
}

function sha256(text: string): string {
  return sha256Bytes(Buffer.from(text)).toString("base64url");
}

function sha256Bytes(bytes: Buffer): Buffer {
  return createHash("sha256").update(bytes).digest();
}

if (import.meta.main) {
  for (const name of readdirSync(import.meta.dirname)) {
    if (name.endsWith(".json")) rmSync(join(import.meta.dirname, name));
  }
  for (const [name, vector] of Object.entries(createVectors())) {
    writeFileSync(join(import.meta.dirname, `${name}.json`), formatVector(vector));
  }
}
