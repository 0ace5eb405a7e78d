import type { Probed, Site } from "./probe.ts";
import { type Answer, problemCodeOf, send } from "./send.ts";

/** Chosen by a visitor: it must never become a request's own. */
const CHOSEN_ID = "chosen-by-a-visitor";
/** IIS's own default bound is 2048: whoever lowers it loses long subjects. */
const QUERY_BYTES = 2_000;

/**
 * Whether the gateway answers at all through what stands in front.
 *
 * @returns with the answer of `healthz`, to compare others with; absent when there is nothing to compare with
 */
export async function probeHealth(
  site: Site,
): Promise<{ readonly probed: Probed; readonly baseline?: Answer }> {
  const answer = await send(`${site.url}/healthz`, {}, site.signal);
  const probe = "the gateway answers";
  if (answer.status === 200 && answer.requestId !== undefined) {
    return {
      probed: {
        probe,
        outcome: "right",
        found: "/healthz: 200, with an X-Request-Id",
        requestId: answer.requestId,
      },
      baseline: answer,
    };
  }
  return { probed: { probe, outcome: "wrong", found: `/healthz: ${shown(answer)}`, ...whyNot(answer) } };
}

function shown({ status, requestId, headers }: Answer): string {
  return `${status}, ${requestId === undefined ? "without an X-Request-Id" : "from the gateway"}, ${headers["content-type"] ?? "no content type"}`;
}

function whyNot(answer: Answer): Pick<Probed, "why" | "fix" | "requestId"> {
  const { status, requestId, headers } = answer;
  if (requestId !== undefined) {
    const isUnproven = status === 400 && problemCodeOf(answer) === "invalid_request";
    return {
      requestId,
      why: isUnproven
        ? "The gateway does not take what stands in front for IIS: the proof is missing or another."
        : "The gateway refuses what it is not asked to judge.",
      fix: isUnproven
        ? "Compare the secret of the rewrite rule with the gateway's file, and `listen: behind` with what is there. The record of the request says which proof is missing."
        : "Look up the request id in the gateway's log and records.",
    };
  }
  const challenge = String(headers["www-authenticate"] ?? "");
  if (status === 401 && /negotiate|ntlm/i.test(challenge)) {
    return {
      why: "IIS asks for Windows authentication on a path that monitors come to without.",
      fix: "Switch anonymous authentication on, and Windows authentication off, for .well-known/jwks.json, healthz and auth/backchannel-logout.",
    };
  }
  return {
    why: "Something in front answered by itself; the request did not reach the gateway.",
    fix: FIXES[status] ?? "Look at the sub-status in IIS's log, and at the Application log of Windows.",
  };
}

const FIXES: Readonly<Record<number, string>> = {
  404: "No rule or handler leads this path to the gateway, or ARR's proxy is switched off: see `countersign iis doctor` on the files.",
  500: "The configuration is not taken: 500.19 names the section in the browser on the server itself, and `countersign iis doctor` on the files finds it.",
  502: "The gateway does not run, or not where IIS looks for it: 502.5 is a process that did not start, 502.3 a port where nobody answers.",
  503: "The application pool is stopped.",
};

/** Ids: the gateway's own on every kind of answer, each another, and never a visitor's. */
export async function probeRequestIds(site: Site): Promise<Probed> {
  const probe = "request ids";
  const headers = { "x-request-id": CHOSEN_ID };
  const answers = [
    await send(`${site.url}/healthz`, { headers }, site.signal),
    await send(`${site.url}/healthz`, { headers }, site.signal),
    await send(`${site.url}/healthz/no-such-path`, { headers }, site.signal),
  ];
  const ids = answers.map(({ requestId }) => requestId);
  const why =
    "Without an id of the gateway's own on every answer a line of IIS's log cannot be joined to its record; and who chooses one can spoil somebody else's trail.";
  if (ids.includes(CHOSEN_ID)) {
    const fix =
      "Take overwrites-request-id out of countersign.yaml: what stands in front passes a visitor's id on. Or have it overwrite the header.";
    return { probe, outcome: "wrong", found: "an answer has the id that the visitor chose", why, fix };
  }
  if (ids.includes(undefined) || new Set(ids).size < ids.length) {
    const found = ids.includes(undefined)
      ? "an answer has no X-Request-Id"
      : "two answers have the same X-Request-Id";
    return {
      probe,
      outcome: "wrong",
      found,
      why,
      fix: "See that nothing in front removes, sets or caches the header X-Request-Id.",
    };
  }
  const [requestId] = ids;
  return {
    probe,
    outcome: "right",
    found: "each answer has one of its own, and none a visitor's",
    ...(requestId !== undefined && { requestId }),
  };
}

/** The gateway's errors are JSON, with an id. */
export async function probeErrors(site: Site): Promise<Probed> {
  const probe = "errors come through";
  const answer = await send(`${site.url}/healthz/no-such-path`, {}, site.signal);
  if (answer.status === 404 && problemCodeOf(answer) === "not_found") {
    return { probe, outcome: "right", found: "404 with the gateway's problem document", ...idOf(answer) };
  }
  return {
    probe,
    outcome: "wrong",
    found: `a path that is not there: ${shown(answer)}`,
    why: "IIS puts its own page in the place of an error's body: callers get HTML instead of the problem document.",
    fix: '<httpErrors existingResponse="PassThrough" />',
    ...idOf(answer),
  };
}

export async function probeQuery(site: Site): Promise<Probed> {
  const probe = "long queries";
  const answer = await send(`${site.url}/healthz?${"q".repeat(QUERY_BYTES)}`, {}, site.signal);
  if (answer.status === 200)
    return { probe, outcome: "right", found: `${QUERY_BYTES} bytes are let through`, ...idOf(answer) };
  return {
    probe,
    outcome: "wrong",
    found: `a query of ${QUERY_BYTES} bytes: ${shown(answer)}`,
    why: "Subjects stand in the query, up to 256 bytes each and three times that when escaped.",
    fix: '<requestLimits maxQueryString="8192" />, and with managed code in the pool <httpRuntime maxQueryStringLength="8192" />',
    ...idOf(answer),
  };
}

export function idOf({ requestId }: Answer): Pick<Probed, "requestId"> {
  return requestId === undefined ? {} : { requestId };
}
