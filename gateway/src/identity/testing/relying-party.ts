import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { Outcome } from "../../refusal.ts";
import { cookieNameOf, loginCookieNameOf, readCookie } from "../cookie.ts";
import type { SignIn } from "../sign-in.ts";

/** The least of a gateway that a browser can sign in at: the web session's paths over a SignIn. For tests. */
export interface RelyingParty {
  readonly url: string;
  stop(): Promise<void>;
  /** To be called before the first request. */
  serve(signIn: SignIn, clock: () => number): void;
  /** The last outcome of each path. */
  readonly outcomes: Map<string, Outcome<unknown>>;
}

export async function startRelyingParty(): Promise<RelyingParty> {
  const outcomes = new Map<string, Outcome<unknown>>();
  let handle: (path: string, url: string, rawHeaders: string[], body: string) => Promise<Answer>;
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request.setEncoding("utf8")) body += chunk;
    const path = new URL(request.url ?? "/", url).pathname;
    const { status, headers } = await handle(path, request.url ?? "/", request.rawHeaders, body);
    response.writeHead(status, headers).end(path);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

  return {
    url,
    outcomes,
    async stop() {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
    serve(signIn, clock) {
      handle = async (path, requested, rawHeaders, body) => {
        const now = clock();
        if (path === "/auth/login") {
          const returnTo = new URL(requested, url).searchParams.get("return-to") ?? "/";
          const begun = await signIn.begin({ returnTo, now });
          outcomes.set(path, begun);
          return begun.ok
            ? redirect(begun.value.location, [begun.value.cookie])
            : { status: 401, headers: {} };
        }
        if (path === "/auth/callback") {
          const finished = await signIn.finish({
            url: requested,
            loginCookie: readCookie(rawHeaders, loginCookieNameOf(url)),
            formerSession: readCookie(rawHeaders, cookieNameOf(url)),
            now,
          });
          outcomes.set(path, finished);
          if (!finished.ok || !(await signIn.keep(finished.value)).ok) return { status: 401, headers: {} };
          return redirect(finished.value.returnTo, finished.value.cookies);
        }
        if (path === "/auth/backchannel-logout") {
          const logoutToken = new URLSearchParams(body).get("logout_token") ?? "";
          const judged = await signIn.backChannel.judge({ logoutToken, now });
          const ended = judged.ok ? await signIn.backChannel.signOut(judged.value) : judged;
          outcomes.set(path, ended);
          return { status: ended.ok ? 200 : 400, headers: {} };
        }
        return { status: 200, headers: {} };
      };
    },
  };
}

interface Answer {
  readonly status: number;
  readonly headers: Record<string, string | string[]>;
}

function redirect(location: string, cookies: readonly string[]): Answer {
  return { status: 302, headers: { location, "set-cookie": [...cookies] } };
}
