/** Somebody whom Windows knows. */
export interface WindowsAccount {
  readonly sid: string;
  /** `CORP\alice` */
  readonly name: string;
  readonly groups: readonly { readonly sid: string; readonly name: string }[];
}

const DOMAIN = "S-1-5-21-1004336348-1177238915-682003330";
const DOMAIN_USERS = { sid: `${DOMAIN}-513`, name: "CORP\\Domain Users" };

export type WindowsUserId = "alice" | "carol";

/** The accounts of a domain that is not there: CORP. */
export const WINDOWS_ACCOUNTS: Readonly<Record<WindowsUserId, WindowsAccount>> = {
  alice: {
    sid: `${DOMAIN}-1103`,
    name: "CORP\\alice",
    groups: [DOMAIN_USERS, { sid: `${DOMAIN}-1201`, name: "CORP\\OrderClerks" }],
  },
  carol: {
    sid: `${DOMAIN}-1105`,
    name: "CORP\\carol",
    groups: [DOMAIN_USERS, { sid: `${DOMAIN}-1202`, name: "CORP\\Auditors" }],
  },
};

/**
 * A sign-in by Windows as the stand-in takes it: the name where a ticket of Kerberos would be. It proves nothing, and
 * is long enough to be told from nothing.
 */
export function pretendTicket(user: WindowsUserId): string {
  return `Negotiate ${Buffer.from(WINDOWS_ACCOUNTS[user].name, "utf8").toString("base64")}`;
}

/** @returns whose pretended ticket it is; undefined for every other value */
export function accountOf(authorization: string): WindowsAccount | undefined {
  const [scheme = "", ticket = ""] = authorization.split(" ");
  if (!/^(?:negotiate|ntlm)$/i.test(scheme)) return undefined;
  const name = Buffer.from(ticket, "base64").toString("utf8");
  return Object.values(WINDOWS_ACCOUNTS).find((account) => account.name === name);
}
