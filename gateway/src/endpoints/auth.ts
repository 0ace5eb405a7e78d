import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { identityFacts } from "../admit.ts";
import type { AuditLog, AuditRecord } from "../audit/record.ts";
import { messageOf } from "../errors.ts";
import type { ProviderLogout } from "../identity/back-channel-logout.ts";
import { readCookie } from "../identity/cookie.ts";
import type { Proof } from "../identity/identity.ts";
import { sessionHashOf } from "../identity/session-proof.ts";
import type { SignIn } from "../identity/sign-in.ts";
import { allowed, type Outcome, refused } from "../refusal.ts";
import { isoTimeOf } from "../time.ts";
import { addOperation, operation } from "./operation.ts";
import { matching, optional } from "./parameter.ts";
import type { EndpointParts } from "./parts.ts";
import { orRefuse, RefusalError } from "./server.ts";

/** A logout token is a small JWT: OpenID Connect Back-Channel Logout §2.4. */
const LOGOUT_TOKEN_BYTES_MAX = 8_192;

export interface AuthParts extends Pick<EndpointParts, "presentedOf" | "clock"> {
  readonly signIn: SignIn;
  readonly audit: AuditLog;
  readonly instance: string;
  readonly loginCookieName: string;
  /** Path of the public URL with a slash at its end: where a browser goes when nothing else was asked. */
  readonly home: string;
}

const LOGIN = operation({
  id: "login",
  method: "GET",
  path: "/auth/login",
  tag: "session",
  needs: "nothing",
  summary: "Begin to sign in",
  description: "Where a browser goes: it is led to the identity provider, back here, and to `return-to`.",
  parameters: {
    "return-to": optional(
      matching("A path of this origin, or one of its URLs, for afterwards.", {
        grammar: /^[\x21-\x7e]{1,2048}$/,
        expected: "1 to 2048 printable characters of ASCII",
        example: "/",
      }),
    ),
    issuer: optional(
      matching("Which of several providers, by its name in the configuration.", {
        grammar: /^[a-z0-9]{1,64}$/,
        expected: "the name of an issuer, 1 to 64 of a-z 0-9",
        example: "demo",
      }),
    ),
  },
  answers: { 302: { description: "To the identity provider." } },
  problems: ["invalid_login", "unavailable"],
});

const LOGOUT = operation({
  id: "logout",
  method: "POST",
  path: "/auth/logout",
  tag: "session",
  needs: "session",
  summary: "Sign out",
  description:
    "Ends the session, its streams and its connections, on every instance. A form is led on; a script is told where the provider signs out too.",
  parameters: {},
  headers: {
    "Countersign-Request": {
      description: "`1`, from a script that sends no `Origin`: no form of another site can send it.",
      schema: { type: "string", const: "1" },
      example: "1",
      shown: true,
    },
  },
  body: { description: "Not read.", required: false, content: { "*/*": {} } },
  answers: {
    200: {
      description: "Signed out.",
      content: {
        "application/json": {
          schema: {
            type: "object",
            properties: { location: { type: "string", description: "Where the provider signs out." } },
          },
        },
      },
    },
    303: { description: "Signed out; to a form, where to go on." },
  },
  problems: ["not_allowed", "unavailable"],
});

const BACK_CHANNEL_LOGOUT = operation({
  id: "backchannel-logout",
  method: "POST",
  path: "/auth/backchannel-logout",
  tag: "session",
  needs: "nothing",
  summary: "The identity provider signs somebody out",
  description: "OpenID Connect Back-Channel Logout 1.0.",
  parameters: {},
  body: {
    description: "The logout token.",
    required: true,
    content: {
      "application/x-www-form-urlencoded": {
        example: "logout_token=$LOGOUT_TOKEN",
        schema: {
          type: "object",
          required: ["logout_token"],
          properties: { logout_token: { type: "string", maxLength: LOGOUT_TOKEN_BYTES_MAX } },
        },
      },
    },
  },
  answers: { 200: { description: "Signed out." } },
  problems: ["unauthenticated", "unavailable"],
});

/** The web session: sign-in, its callback, sign-out from here and from the provider. Each is recorded before its effect. */
export function addAuth(app: FastifyInstance, parts: AuthParts): void {
  const { signIn, clock, loginCookieName, presentedOf, home } = parts;

  addOperation(app, LOGIN, async (_request, query, reply) => {
    const { "return-to": returnTo, issuer } = orRefuse(query);
    const begun = await signIn.begin({
      ...(returnTo !== undefined && { returnTo }),
      ...(issuer !== undefined && { issuer }),
      now: clock(),
    });
    const { location, cookie } = orRefuse(begun);
    return reply.header("set-cookie", cookie).header("cache-control", "no-store").redirect(location, 302);
  });

  async function callback(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    const former = sessionProofOf(presentedOf(request));
    const finished = await signIn.finish({
      url: request.url,
      loginCookie: readCookie(request.raw.rawHeaders, loginCookieName),
      ...(former && { formerSession: former.id }),
      now: clock(),
    });
    await record(parts, request, "sign-in", finished, ({ session }) =>
      identityFacts({ ...session.identity, proof: { kind: "session", hash: session.hash } }),
    );
    const signedIn = orRefuse(finished);
    orRefuse(await done(parts, request, signIn.keep(signedIn)));
    const { cookies, returnTo } = signedIn;
    return reply.header("set-cookie", cookies).header("cache-control", "no-store").redirect(returnTo, 303);
  }
  app.get("/auth/callback", callback);
  app.get("/auth/callback/:issuer", callback);

  addOperation(app, LOGOUT, async (request, query, reply) => {
    orRefuse(query);
    const presented = presentedOf(request);
    const judged = presented.ok ? signIn.judgeLogout(presented.value) : presented;
    // Who it was is in the record of the sign-in of this proof.
    const proof = sessionProofOf(presented);
    await record(parts, request, "sign-out", judged, () =>
      proof ? { proof: { kind: "session", hash: sessionHashOf(proof.id) } } : {},
    );
    orRefuse(judged);
    const signedOut = signIn.logout({ presented: orRefuse(presented), now: clock() });
    const { cookies, location } = orRefuse(await done(parts, request, signedOut));
    reply.header("set-cookie", cookies).header("cache-control", "no-store");
    // A form navigates; a script cannot follow a redirect to another origin, and is told instead.
    if (request.headers["sec-fetch-mode"] === "navigate") return reply.redirect(location ?? home, 303);
    return reply.send(location === undefined ? {} : { location });
  });

  addOperation(app, BACK_CHANNEL_LOGOUT, async (request, query, reply) => {
    orRefuse(query);
    const logoutToken = logoutTokenOf(request.body);
    const judged = await signIn.backChannel.judge({ logoutToken, now: clock() });
    await record(parts, request, "sign-out by provider", judged, factsOf);
    orRefuse(await done(parts, request, signIn.backChannel.signOut(orRefuse(judged))));
    return reply.header("cache-control", "no-store").code(200).send();
  });
}

function sessionProofOf(
  presented: ReturnType<EndpointParts["presentedOf"]>,
): Extract<Proof, { kind: "session" }> | undefined {
  if (!presented.ok) return undefined;
  return presented.value.proofs.find((proof) => proof.kind === "session");
}

/** @source  OpenID Connect Back-Channel Logout 1.0 §2.5: a form with `logout_token` */
function logoutTokenOf(body: unknown): string {
  const text =
    body instanceof Uint8Array && body.length <= 2 * LOGOUT_TOKEN_BYTES_MAX
      ? Buffer.from(body).toString("latin1")
      : "";
  const token = new URLSearchParams(text).get("logout_token");
  if (token !== null && token.length <= LOGOUT_TOKEN_BYTES_MAX) return token;
  throw new RefusalError({
    reason: "request_invalid",
    what: "logout_token",
    why: "expected one in a form body",
  });
}

/** Whom a provider signs out: the user where it says so, and the hash of its session where it means only that. */
function factsOf({ issuer, user, key }: ProviderLogout): Partial<ReturnType<typeof identityFacts>> {
  return {
    issuer,
    ...(user !== undefined && { user }),
    ...(key.session !== undefined && { proof: { kind: "session", hash: key.session } }),
  };
}

/**
 * Stands before the effect: a refused outcome has none, and neither has one whose record cannot be written.
 *
 * @throws RefusalError when the record cannot be written
 */
async function record<T>(
  { audit, clock, instance }: AuthParts,
  { facts }: FastifyRequest,
  action: string,
  outcome: Outcome<T>,
  whoOf: (value: T) => Partial<ReturnType<typeof identityFacts>>,
): Promise<void> {
  const entry: AuditRecord = {
    kind: "decision",
    at: isoTimeOf(clock()),
    instance,
    ...facts,
    lane: "auth",
    action,
    outcome: outcome.ok ? "allowed" : "refused",
    ...(outcome.ok ? whoOf(outcome.value) : { refusal: outcome.refusal }),
  };
  const written = await audit.record(entry).then((): Outcome<void> => allowed(undefined), unwritable);
  orRefuse(written);
}

/** Completes the record of an effect that was allowed and failed; one that succeeded is what the record says. */
async function done<T>(
  { audit, clock, instance }: AuthParts,
  { facts: { txn } }: FastifyRequest,
  effect: Promise<Outcome<T>>,
): Promise<Outcome<T>> {
  const outcome = await effect;
  if (!outcome.ok) {
    const at = isoTimeOf(clock());
    const why = outcome.refusal.reason;
    audit.complete({ kind: "completion", at, instance, txns: [txn], outcome: "failed", why });
  }
  return outcome;
}

function unwritable(error: unknown): Outcome<void> {
  return refused({ reason: "record_unwritable", why: messageOf(error) });
}
