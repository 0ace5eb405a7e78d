import { DEMO_USERS } from "./demo-users.ts";

/** The sign-in page: one button per demo user, no password. */
export function signInPage(action: string): string {
  const buttons = Object.values(DEMO_USERS).map(
    (user) => `<button name="user" value="${user.id}"><b>${user.name}</b> ${user.what}</button>`,
  );
  return page(
    "Who are you today?",
    `<form method="post" action="${action}">${buttons.join("")}</form>
     <p>A demo: nobody is asked for a password.</p>`,
  );
}

/** @param form  the provider's own, whose button `logout=yes` ends the session */
export function signOutPage(form: string): string {
  return page(
    "Sign out?",
    `${form}<button form="op.logoutForm" name="logout" value="yes">Yes, sign me out</button>`,
  );
}

export function signedOutPage(): string {
  return page("Signed out", "<p>You may close this page.</p>");
}

export function errorPage(error: string, description: string | undefined): string {
  return page("That did not work", `<p>${escapeHtml(error)}: ${escapeHtml(description ?? "")}</p>`);
}

function page(title: string, body: string): string {
  return `<!doctype html><html lang="en"><meta charset="utf-8"><title>${title}</title>
<style>body{font:1rem/1.5 system-ui;max-width:24rem;margin:4rem auto;padding:0 1rem}
button{display:block;width:100%;margin:.5rem 0;padding:.7rem;font:inherit;text-align:left;cursor:pointer}</style>
<p><small>Countersign devstack: demo identity provider</small></p><h1>${title}</h1>${body}</html>`;
}

function escapeHtml(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
