import type { FastifyInstance } from "fastify";
import type { Admission } from "../admit.ts";
import type { AuditLog } from "../audit/record.ts";
import type { Config } from "../config/config.ts";
import type { NatsKeys } from "../credentials/nats-keys.ts";
import { inboxPrefixOf } from "../credentials/user.ts";
import { addApi } from "../endpoints/api.ts";
import { type AuthParts, addAuth } from "../endpoints/auth.ts";
import { addCredentials } from "../endpoints/credentials.ts";
import { addDemo } from "../endpoints/demo.ts";
import { addExplain } from "../endpoints/explain.ts";
import { addFetch } from "../endpoints/fetch.ts";
import { addHealth } from "../endpoints/health.ts";
import { addJwks } from "../endpoints/jwks.ts";
import { addKv } from "../endpoints/kv.ts";
import { addKvMany } from "../endpoints/kv-many.ts";
import { addNats } from "../endpoints/nats.ts";
import type { ApiPlace } from "../endpoints/openapi.ts";
import { recordOversized } from "../endpoints/oversized.ts";
import type { EndpointParts } from "../endpoints/parts.ts";
import { addProblemPages } from "../endpoints/problem-pages.ts";
import { addPublish } from "../endpoints/publish.ts";
import { addRequest } from "../endpoints/request.ts";
import { addSubscribe } from "../endpoints/subscribe.ts";
import { addWhoami } from "../endpoints/whoami.ts";
import { cookieNameOf, loginCookieNameOf } from "../identity/cookie.ts";
import type { SignIn } from "../identity/sign-in.ts";
import type { Issue } from "../issue.ts";
import type { PublicKeyDirectory } from "../keys/directory.ts";
import type { Native } from "../native/native.ts";
import { explain } from "../policy/explain.ts";
import type { LivePolicy } from "../policy/live.ts";
import type { Clock } from "../time.ts";
import { VERSION } from "../version.ts";
import type { Base } from "./base.ts";

/** What the entrances are made of. */
export interface EntranceParts extends EndpointParts {
  readonly directory: PublicKeyDirectory;
  readonly policy: LivePolicy;
  readonly signIn: SignIn | undefined;
  readonly audit: AuditLog;
  readonly keys: NatsKeys;
  /** Absent where no client connects by itself. */
  readonly issue: Issue | undefined;
  readonly instance: string;
  readonly native: Native;
}

/** Adds every entrance of the public listener; those for signing in only where somebody signs in here. */
export function addEntrances(
  app: FastifyInstance,
  { config, clock }: Base,
  { policy, signIn, audit, keys, issue, instance, directory, native, ...parts }: EntranceParts,
): void {
  const inboxPrefix = ({ identity, grant }: Admission) =>
    inboxPrefixOf(keys.clusterSecret.subkey("inbox"), identity, grant);
  app.register(async (messages) => {
    recordOversized(messages, parts);
    addPublish(messages, parts);
    addRequest(messages, parts);
    addKv(messages, parts);
    addKvMany(messages, parts);
    addFetch(messages, parts);
  });
  addSubscribe(app, parts);
  addNats(app, { ...parts, native, publicUrl: config.publicUrl });
  addWhoami(app, parts, inboxPrefix);
  addExplain(app, parts, (identity, action, now) => explain(policy.current, identity, action, now));
  if (issue && config.nats.direct) addCredentials(app, parts, { issue, ...config.nats.direct });
  addJwks(app, servedKeys(directory, clock), clock);
  addHealth(app);
  addProblemPages(app);
  addApi(app, apiPlaceOf(config));
  if (signIn) addAuth(app, { ...parts, signIn, audit, instance, ...placesOf(config) });
  if (config.demo !== undefined) addDemo(app, config.demo);
}

function apiPlaceOf({ publicUrl }: Config): ApiPlace {
  return { url: publicUrl, exampleUrl: publicUrl, version: VERSION, cookieName: cookieNameOf(publicUrl) };
}

function placesOf({ publicUrl }: Config): Pick<AuthParts, "loginCookieName" | "home"> {
  const { pathname } = new URL(publicUrl);
  return {
    loginCookieName: loginCookieNameOf(publicUrl),
    home: pathname.endsWith("/") ? pathname : `${pathname}/`,
  };
}

/** Keys that still seal, or that seals on their way may name: those past that are asked for by `kid`. */
function servedKeys(directory: PublicKeyDirectory, clock: Clock): Parameters<typeof addJwks>[1] {
  return {
    current: async () => (await directory.all()).filter(({ exp }) => exp + SEAL_LIFE_SECONDS > clock()),
    get: (kid) => directory.get(kid),
  };
}

/** A seal's minute and the clocks' difference. */
const SEAL_LIFE_SECONDS = 70;
