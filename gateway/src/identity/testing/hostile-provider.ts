import { randomBytes } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { ClientOptions, IssuerOptions } from "../issuer.ts";
import { createIssuers } from "../issuer.ts";
import type { SecretKey } from "../sealed-box.ts";
import { createSignIn, type SignIn, type SignInOptions } from "../sign-in.ts";
import { sendJson, startTestIssuer, type TestIssuer } from "./issuer.ts";
import { createMemorySessions } from "./memory-sessions.ts";

/** A provider whose token endpoint answers what a test wants, and a SignIn that has it for its only issuer. */
export interface HostileProvider {
  readonly issuer: TestIssuer;
  readonly sessions: ReturnType<typeof createMemorySessions>;
  readonly signIn: SignIn;
  readonly refreshKey: SecretKey;
  readonly loginKey: SecretKey;
  /** Requests to the token endpoint, as they came. */
  readonly tokenRequests: { readonly form: URLSearchParams; readonly authorization: string | undefined }[];
  /** What the token endpoint answers; an Error's message is its error code. */
  answer: (form: URLSearchParams) => object | Error | Promise<object | Error>;
  /** Claims of a good ID token for the gateway. */
  idClaims(now: number, overrides?: Record<string, unknown>): Record<string, unknown>;
  [Symbol.asyncDispose](): Promise<void>;
}

export const PUBLIC_URL = "https://apps.example.com/bus";

export async function startHostileProvider({
  client = { id: "gw", secret: () => "the-secret" },
  issuerOptions = {},
  options = {},
}: {
  readonly client?: ClientOptions;
  readonly issuerOptions?: Partial<IssuerOptions>;
  readonly options?: Partial<SignInOptions>;
} = {}): Promise<HostileProvider> {
  const issuer = await startTestIssuer();
  issuer.discovery.authorization_endpoint = `${issuer.url}/authorize`;
  issuer.discovery.end_session_endpoint = `${issuer.url}/end?keep=1`;
  issuer.discovery.id_token_signing_alg_values_supported = ["ES256"];
  const sessions = createMemorySessions();
  const [loginKey, refreshKey] = [randomBytes(32), randomBytes(32)];
  const issuers = createIssuers([
    { name: "demo", url: issuer.url, audience: "countersign", client, ...issuerOptions },
  ]);
  const provider: HostileProvider = {
    issuer,
    sessions,
    loginKey: () => loginKey,
    refreshKey: () => refreshKey,
    signIn: createSignIn({
      issuers,
      sessions,
      publicUrl: PUBLIC_URL,
      origins: ["https://apps.example.com"],
      loginKey: () => loginKey,
      refreshKey: () => refreshKey,
      ...options,
    }),
    tokenRequests: [],
    answer: () => new Error("server_error"),
    idClaims(now, overrides) {
      const times = { iat: Math.floor(now), exp: Math.floor(now) + 300 };
      return { iss: issuer.url, aud: "gw", sub: "alice", groups: ["Orders.Clerks"], ...times, ...overrides };
    },
    [Symbol.asyncDispose]: () => issuer.stop(),
  };
  issuer.answers.set("/token", async (request, response) => {
    const form = new URLSearchParams(await textOf(request));
    provider.tokenRequests.push({ form, authorization: request.headers.authorization });
    const answer = await provider.answer(form);
    if (!(answer instanceof Error)) {
      return sendJson(response, { access_token: "opaque", token_type: "Bearer", ...answer });
    }
    response.writeHead(400, { "content-type": "application/json" });
    response.end(JSON.stringify({ error: answer.message, error_description: "the-description" }));
  });
  return provider;
}

async function textOf(request: IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of request.setEncoding("utf8")) text += chunk;
  return text;
}
