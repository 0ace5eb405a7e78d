import { DEMO_SERVICE, DEMO_USERS, type DemoUserId, findDemoUser } from "./demo-users.ts";
import { DevstackError } from "./devstack-error.ts";
import { DEMO_USER_GRANT, SCRIPT_CLIENT } from "./oidc-configuration.ts";
import type { Running } from "./running.ts";

const TIMEOUT_MS = 5_000;

/** Those `fetchToken` knows. */
export const TOKEN_HOLDERS: readonly string[] = [...Object.keys(DEMO_USERS), DEMO_SERVICE];

/**
 * Asks the demo identity provider for an access token of a demo user or of the machine client.
 *
 * @throws DevstackError for anybody else, or when the provider is not there
 */
export async function fetchToken(
  { issuer, serviceSecret }: Pick<Running, "issuer" | "serviceSecret">,
  who: DemoUserId | typeof DEMO_SERVICE | string | undefined,
): Promise<string> {
  if (who !== DEMO_SERVICE && findDemoUser(who) === undefined) {
    throw new DevstackError(`Expected one of ${TOKEN_HOLDERS.join(", ")}; found ${who ?? "nobody"}.`);
  }
  const form =
    who === DEMO_SERVICE
      ? { grant_type: "client_credentials", client_id: DEMO_SERVICE, client_secret: serviceSecret }
      : { grant_type: DEMO_USER_GRANT, client_id: SCRIPT_CLIENT, user: String(who) };
  const response = await fetch(`${issuer}/token`, {
    method: "POST",
    body: new URLSearchParams(form),
    signal: AbortSignal.timeout(TIMEOUT_MS),
  }).catch((cause: unknown) => {
    throw new DevstackError(
      `The identity provider at ${issuer} does not answer: is \`npm start\` still running?`,
      { cause },
    );
  });
  const body = (await response.json()) as { access_token?: string; error?: string };
  if (body.access_token === undefined)
    throw new DevstackError(`The identity provider refused: ${body.error}.`);
  return body.access_token;
}
