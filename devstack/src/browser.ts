import { type IncomingHttpHeaders, type OutgoingHttpHeaders, request } from "node:http";
import type { DemoUserId } from "./demo-users.ts";
import { DevstackError } from "./devstack-error.ts";

const REDIRECTS_MAX = 20;
const BODY_CHARS_MAX = 4 * 1024 * 1024;

export interface Page {
  /** Where the redirects ended. */
  readonly url: string;
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** A browser without a screen: keeps cookies by host, as browsers do, and follows redirects and self-posting forms. */
export interface Browser {
  /** Navigates there as if the address had been typed in. */
  readonly open: (url: string) => Promise<Page>;
  /** Submits a form of a page. */
  readonly submit: (url: string, fields: Readonly<Record<string, string>>) => Promise<Page>;
  /** The `Cookie` header that goes to a URL, or an empty string. */
  readonly cookiesFor: (url: string) => string;
  /** Every `Set-Cookie` received, in order. */
  readonly cookiesSet: readonly string[];
}

export function createBrowser(): Browser {
  const jar = new Map<string, Map<string, string>>();
  const cookiesSet: string[] = [];

  const cookiesFor = (url: string): string =>
    [...(jar.get(new URL(url).hostname) ?? [])].map(([name, value]) => `${name}=${value}`).join("; ");

  const keepCookies = (url: string, lines: readonly string[]): void => {
    const { hostname } = new URL(url);
    const cookies = jar.get(hostname) ?? new Map<string, string>();
    jar.set(hostname, cookies);
    for (const line of lines) {
      cookiesSet.push(line);
      const [pair = "", ...attributes] = line.split(";");
      const name = pair.slice(0, pair.indexOf("=")).trim();
      if (isExpired(attributes)) cookies.delete(name);
      else cookies.set(name, pair.slice(pair.indexOf("=") + 1).trim());
    }
  };

  async function navigate(url: string, form?: URLSearchParams, from?: string): Promise<Page> {
    let [at, body, site] = [url, form, siteOf(url, from)];
    for (let hop = 0; hop < REDIRECTS_MAX; hop++) {
      const page = await send(at, { ...navigationHeaders(site), ...cookieHeader(cookiesFor(at)) }, body);
      keepCookies(at, page.headers["set-cookie"] ?? []);
      const location = page.headers.location;
      if (page.status < 300 || page.status > 399 || location === undefined) {
        const selfPosting = selfPostingForm(page);
        return selfPosting ? await navigate(selfPosting.url, selfPosting.fields, page.url) : page;
      }
      const next = new URL(location, at).href;
      // Once a chain has crossed sites it stays cross-site (Fetch Metadata §2.3).
      if (site === "same-origin" && siteOf(next, at) !== "same-origin") site = "cross-site";
      [at, body] = [next, undefined];
    }
    throw new DevstackError(`${url} redirects more than ${REDIRECTS_MAX} times`);
  }

  return {
    open: (url) => navigate(url),
    submit: (url, fields) => navigate(url, new URLSearchParams(fields), url),
    cookiesFor,
    cookiesSet,
  };
}

/**
 * Signs a demo user in at the gateway through the identity provider's page.
 *
 * @returns the page the gateway leads to in the end
 */
export async function signIn(
  browser: Browser,
  { gatewayUrl, user, returnTo = "/" }: { gatewayUrl: string; user: DemoUserId; returnTo?: string },
): Promise<Page> {
  const login = `${gatewayUrl.replace(/\/$/, "")}/auth/login?return-to=${encodeURIComponent(returnTo)}`;
  const page = await browser.open(login);
  if (!page.body.includes('name="user"')) {
    throw new DevstackError(`${login} led to no sign-in page but to ${page.url} (${page.status})`);
  }
  return await browser.submit(page.url, { user });
}

type FetchSite = "none" | "same-origin" | "cross-site";

function siteOf(url: string, from: string | undefined): FetchSite {
  if (from === undefined) return "none";
  return new URL(url).origin === new URL(from).origin ? "same-origin" : "cross-site";
}

function navigationHeaders(site: FetchSite): OutgoingHttpHeaders {
  return { "sec-fetch-site": site, "sec-fetch-mode": "navigate", "sec-fetch-dest": "document" };
}

function cookieHeader(cookie: string): OutgoingHttpHeaders {
  return cookie === "" ? {} : { cookie };
}

function isExpired(attributes: readonly string[]): boolean {
  return attributes.some((attribute) => {
    const [name = "", value = ""] = attribute.trim().toLowerCase().split("=");
    if (name === "max-age") return Number(value) <= 0;
    return name === "expires" && Date.parse(value) <= Date.now();
  });
}

/** A page whose script submits its only form, as identity providers use to post across sites. */
function selfPostingForm(page: Page): { readonly url: string; readonly fields: URLSearchParams } | undefined {
  if (!/\.submit\(\)/.test(page.body)) return undefined;
  const action = /<form[^>]*\baction="([^"]*)"/.exec(page.body)?.[1];
  if (action === undefined) return undefined;
  const fields = new URLSearchParams();
  for (const [input] of page.body.matchAll(/<input[^>]*>/g)) {
    const name = /\bname="([^"]*)"/.exec(input)?.[1];
    if (name !== undefined) fields.append(name, /\bvalue="([^"]*)"/.exec(input)?.[1] ?? "");
  }
  return { url: new URL(action, page.url).href, fields };
}

/** node:http instead of fetch(), which does not let one set the headers that browsers set. */
function send(url: string, headers: OutgoingHttpHeaders, form: URLSearchParams | undefined): Promise<Page> {
  return new Promise((resolve, reject) => {
    const contentType = form ? { "content-type": "application/x-www-form-urlencoded" } : {};
    const origin = form && headers["sec-fetch-site"] === "same-origin" ? { origin: new URL(url).origin } : {};
    const method = form ? "POST" : "GET";
    const sending = request(
      url,
      { method, headers: { ...headers, ...contentType, ...origin } },
      (response) => {
        let body = "";
        response.setEncoding("utf8").on("data", (text: string) => {
          body += text;
          if (body.length > BODY_CHARS_MAX) response.destroy(new Error(`${url} answers too much`));
        });
        response.once("error", reject);
        response.once("end", () =>
          resolve({ url, status: response.statusCode ?? 0, headers: response.headers, body }),
        );
      },
    );
    sending.once("error", reject);
    sending.end(form?.toString());
  });
}
