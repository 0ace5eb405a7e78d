import { type AccountJwt, readAccountJwt } from "../credentials/revocations.ts";
import { GatewayError, messageOf } from "../errors.ts";
import type { AccountClaims } from "./account-claims.ts";

/**
 * The one JWT of an account that the whole cluster holds. An account's JWT is replaced as a whole: whoever replaces one
 * that is not the latest takes back what somebody else has written.
 *
 * @param issuer  the operator's key that is to sign the next one, O…
 * @throws GatewayError KEYS_INVALID  servers hold different ones, or do not all answer; it is another operator's
 */
export async function currentAccountJwt(
  claims: Pick<AccountClaims, "lookup">,
  account: string,
  issuer: string,
): Promise<AccountJwt> {
  const held = await claims.lookup(account).catch((error: unknown) => {
    throw stale(`${messageOf(error)}. Mend the cluster first`);
  });
  const [jwt = "", ...others] = held;
  if (others.length > 0)
    throw stale("its servers hold different ones. They agree after two minutes (the resolver's interval)");
  const current = readAccountJwt(jwt);
  if (current?.account !== account) throw stale(`no server has the JWT of ${account}`);
  if (current.issuer !== issuer)
    throw stale(`it was signed by ${current.issuer}, and the key in the folder is ${issuer}`);
  return current;
}

/**
 * Hands the next JWT to every server, after one more look at whether `current` is still the latest.
 *
 * @returns by server, why it did not take it; undefined where it did
 * @throws GatewayError KEYS_INVALID  it was changed meanwhile; then nothing is written
 */
export async function replaceAccountJwt(
  claims: AccountClaims,
  current: AccountJwt,
  jwt: string,
): Promise<ReadonlyMap<string, string | undefined>> {
  const [held, ...others] = await claims.lookup(current.account);
  if (held !== current.jwt || others.length > 0) throw stale("it was changed meanwhile. Run this again");
  return await claims.update(jwt);
}

function stale(why: string): GatewayError {
  return new GatewayError("KEYS_INVALID", `Cannot replace the account's JWT: ${why}.`);
}
