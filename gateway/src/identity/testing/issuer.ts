import { constants, generateKeyPairSync, type JsonWebKey, type KeyObject, sign } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Algorithm } from "../jws.ts";

/** An identity provider's outside, made by hand so that every answer of it can be made wrong. For tests. */
export interface TestIssuer {
  readonly url: string;
  /** What stands in the key set, in order. */
  readonly jwks: JsonWebKey[];
  /** Requests by path, in order. */
  readonly requests: string[];
  /** Replaces the answer to a path; delete it to be good again. */
  readonly answers: Map<string, (request: IncomingMessage, response: ServerResponse) => void>;
  /** Members of the discovery document, over the good ones. */
  readonly discovery: Record<string, unknown>;
  /** Signs with the key of this kid, by its own algorithm unless told otherwise. */
  sign(claims: object | string, header?: Record<string, unknown>): string;
  /** Adds a key to those that `sign` knows and publishes it. */
  addKey(kid: string, alg: Algorithm): TestKey;
  readonly keys: ReadonlyMap<string, TestKey>;
  /** Stops answering: connections are refused. */
  stop(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

export interface TestKey {
  readonly kid: string;
  readonly alg: Algorithm;
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}

export async function startTestIssuer(): Promise<TestIssuer> {
  const jwks: JsonWebKey[] = [];
  const requests: string[] = [];
  const answers: TestIssuer["answers"] = new Map();
  const discovery: Record<string, unknown> = {};
  const keys = new Map<string, TestKey>();
  const server = createServer((request, response) => {
    const path = request.url ?? "";
    requests.push(path);
    const answer = answers.get(path);
    if (answer) return answer(request, response);
    if (path === "/.well-known/openid-configuration") {
      return sendJson(response, {
        issuer: url,
        jwks_uri: `${url}/jwks`,
        token_endpoint: `${url}/token`,
        ...discovery,
      });
    }
    return path === "/jwks" ? sendJson(response, { keys: jwks }) : response.writeHead(404).end();
  });
  await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

  const addKey: TestIssuer["addKey"] = (kid, alg) => {
    const key = { kid, alg, ...makeKeyPair(alg) };
    keys.set(kid, key);
    jwks.push({ ...key.publicKey.export({ format: "jwk" }), kid, alg, use: "sig" });
    return key;
  };
  addKey("k1", "ES256");

  async function stop(): Promise<void> {
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
  }

  return {
    url,
    jwks,
    requests,
    answers,
    discovery,
    keys,
    addKey,
    sign(claims, header = {}) {
      const key = keys.get(String(header.kid ?? "k1"));
      if (!key) throw new Error("no such key");
      return signJws(claims, { alg: key.alg, kid: key.kid, typ: "at+jwt", ...header }, key);
    },
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

export function sendJson(
  response: ServerResponse,
  body: unknown,
  headers: Record<string, string> = {},
): void {
  response.writeHead(200, { "content-type": "application/json", ...headers }).end(JSON.stringify(body));
}

/** @param claims  an object, or the text to sign as it stands */
export function signJws(
  claims: object | string,
  header: Record<string, unknown>,
  key: Pick<TestKey, "alg" | "privateKey">,
): string {
  const text = typeof claims === "string" ? claims : JSON.stringify(claims);
  const input = `${encode(JSON.stringify(header))}.${encode(text)}`;
  return `${input}.${encode(signBytes(Buffer.from(input), key))}`;
}

function signBytes(bytes: Buffer, { alg, privateKey }: Pick<TestKey, "alg" | "privateKey">): Buffer {
  switch (alg) {
    case "RS256":
      return sign("sha256", bytes, privateKey);
    case "PS256":
      return sign("sha256", bytes, {
        key: privateKey,
        padding: constants.RSA_PKCS1_PSS_PADDING,
        saltLength: 32,
      });
    case "ES256":
      return sign("sha256", bytes, { key: privateKey, dsaEncoding: "ieee-p1363" });
    case "Ed25519":
      return sign(null, bytes, privateKey);
  }
}

export function makeKeyPair(alg: Algorithm): {
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
} {
  switch (alg) {
    case "RS256":
    case "PS256":
      return generateKeyPairSync("rsa", { modulusLength: 2048 });
    case "ES256":
      return generateKeyPairSync("ec", { namedCurve: "P-256" });
    case "Ed25519":
      return generateKeyPairSync("ed25519");
  }
}

function encode(data: string | Buffer): string {
  return Buffer.from(data).toString("base64url");
}
