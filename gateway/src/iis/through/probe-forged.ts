import type { Probed, Site } from "./probe.ts";
import { idOf } from "./probe-answers.ts";
import { type Answer, jsonOf, problemCodeOf, send, stringOf } from "./send.ts";

/** A principal of nobody, of the form that App Service sends. */
const PRINCIPAL = Buffer.from(
  JSON.stringify({
    auth_typ: "aad",
    claims: [
      {
        typ: "http://schemas.microsoft.com/identity/claims/tenantid",
        val: "00000000-0000-0000-0000-000000000000",
      },
      { typ: "http://schemas.microsoft.com/identity/claims/objectidentifier", val: "forged" },
    ],
  }),
).toString("base64");

/** Headers by which only what stands in front may speak, with values that nobody made. */
const FORGED: readonly (readonly [name: string, value: string])[] = [
  ["Countersign-Identity", `v1.${Buffer.from("forged").toString("base64url")}.AAAA`],
  ["Countersign-Proof", "forged-forged-forged-forged-forged-forged"],
  ["MS-ASPNETCORE-TOKEN", "00000000-0000-0000-0000-000000000000"],
  ["X-ARR-ClientCert", Buffer.from("forged").toString("base64")],
  ["X-MS-CLIENT-PRINCIPAL", PRINCIPAL],
];

/** A proof that comes by itself counts only with this, as browsers' do by their origin. */
const DELIBERATE = { "countersign-request": "1" };

/**
 * Sends each forged header, to a path that asks nobody who they are and to one that tells.
 *
 * The gateway says no more than it says to anybody: a refusal's code shows that the header arrived and was refused, the
 * same answer as without it that it was taken away, and any other answer that somebody believed it.
 */
export async function probeForged(site: Site, baseline: Answer): Promise<readonly Probed[]> {
  const asked = await whoami(site, {});
  const probed: Probed[] = [];
  for (const [name, value] of FORGED) {
    const headers = { [name]: value };
    const health = await send(`${site.url}/healthz`, { headers }, site.signal);
    probed.push(judgeForged(name, { baseline, health, asked, told: await whoami(site, headers) }));
  }
  return probed;
}

function whoami(site: Site, headers: Readonly<Record<string, string>>): Promise<Answer> {
  const token = site.token === undefined ? {} : { authorization: `Bearer ${site.token}` };
  return send(`${site.url}/v1/whoami`, { headers: { ...DELIBERATE, ...token, ...headers } }, site.signal);
}

/** The answers that one header is judged by. */
export interface ForgedAnswers {
  /** Of `healthz` without and with the header. */
  readonly baseline: Answer;
  readonly health: Answer;
  /** Of `whoami` without and with it. */
  readonly asked: Answer;
  readonly told: Answer;
}

/** Whether somebody believed a header that nobody but an edge may send. */
export function judgeForged(name: string, answers: ForgedAnswers): Probed {
  const { baseline, health, asked, told } = answers;
  const probe = `forged ${name}`;
  if (told.status === 200 && !isSame(told, asked)) {
    return {
      probe,
      outcome: "wrong",
      found: `it made the visitor ${userOf(told) ?? "somebody"}`,
      ...BELIEVED,
      ...idOf(told),
    };
  }
  if (name === "Countersign-Identity" && health.status === 401 && health.requestId !== undefined) {
    const found =
      "it reached the gateway, which expects a signature of the identity module there, and refused it";
    return { probe, outcome: "wrong", found, ...UNSIGNED, ...idOf(health) };
  }
  const isHarmless = [
    { without: baseline, with: health },
    { without: asked, with: told },
  ].every((pair) => isRefused(pair.with) || isSame(pair.with, pair.without));
  if (!isHarmless) {
    const found = `it changed the answer: ${whatOf(asked)} without, ${whatOf(told)} with it`;
    return { probe, outcome: "wrong", found, ...BELIEVED, ...idOf(told) };
  }
  const refused = [health, told].find((answer) => isRefused(answer));
  if (refused)
    return { probe, outcome: "right", found: "it reached the gateway, and was refused", ...idOf(refused) };
  const where = told.requestId === undefined ? "; who asks for a user is answered by something in front" : "";
  return {
    probe,
    outcome: "right",
    found: `it was taken away before the gateway, or overwritten${where}`,
    ...idOf(health),
  };
}

const BELIEVED = {
  why: "A visitor's header was taken for the word of what stands in front: they are whoever they say.",
  fix: "See that the gateway is only reached through IIS, that `listen: behind` is what stands there, and, for App Service's header, that WEBSITE_AUTH_ENABLED is set nowhere else.",
} as const;

const UNSIGNED = {
  why: "The module takes away what a visitor sends under this name. It does not run: nobody is signed in, and of every request it is not known whether IIS signed it.",
  fix: "Put CountersignIdentity.cs into App_Code and add it to <modules>; set the pool to .NET CLR v4.0, Integrated.",
} as const;

/** As a header that only the gateway or its edge may set; or as a proof that no proven hop gave. */
function isRefused(answer: Answer): boolean {
  const code = problemCodeOf(answer);
  return (
    answer.requestId !== undefined &&
    answer.status === 400 &&
    (code === "invalid_proof" || code === "invalid_request")
  );
}

function isSame(a: Answer, b: Answer): boolean {
  return whatOf(a) === whatOf(b);
}

/** What of an answer says who the caller is taken for. */
function whatOf(answer: Answer): string {
  const error = /error="([a-z_]+)"/.exec(String(answer.headers["www-authenticate"] ?? ""))?.[1];
  return [answer.status, problemCodeOf(answer), error, userOf(answer)]
    .filter((each) => each !== undefined)
    .join(" ");
}

function userOf({ body }: Answer): string | undefined {
  return stringOf(jsonOf(body), "user");
}

/** Reserved for documentation: nobody comes from there (RFC 5737). */
const FORGED_ADDRESS = "203.0.113.9";
/** Takes a request to another place where something in front believes it. */
const FORGED_PATHS = ["X-Original-URL", "X-Rewrite-URL"];

export async function probeForgedPath(site: Site, baseline: Answer): Promise<readonly Probed[]> {
  const probed: Probed[] = [];
  for (const name of FORGED_PATHS) {
    const path = `${new URL(site.url).pathname.replace(/\/$/, "")}/healthz/no-such-path`;
    const answer = await send(`${site.url}/healthz`, { headers: { [name]: path } }, site.signal);
    const probe = `forged ${name}`;
    probed.push(
      isSame(answer, baseline)
        ? { probe, outcome: "right", found: "it changes nothing", ...idOf(answer) }
        : {
            probe,
            outcome: "wrong",
            found: `it takes the request elsewhere: ${whatOf(answer)}`,
            why: "A visitor says which path is judged and which is served: rules and anonymous paths of IIS hold for the one, the gateway serves the other.",
            fix: "Find what in front reads this header, and take it away before that.",
            ...idOf(answer),
          },
    );
  }
  return probed;
}

/**
 * The address in the record is IIS's word, never the visitor's. It is told to nobody but the reader of the records: so it
 * is looked up there, by the id of a request that is refused and recorded because of a header name with an underscore.
 */
export async function probeForgedAddress(site: Site): Promise<Probed> {
  const probe = "forged X-Forwarded-For";
  const chosen = "doctor-through";
  const headers = { "x-forwarded-for": FORGED_ADDRESS, "x-request-id": chosen, x_countersign_doctor: "1" };
  const answer = await whoami(site, headers);
  if (answer.requestId === undefined) {
    return {
      probe,
      outcome: "unseen",
      found: `something in front answers who asks for a user by itself (${answer.status}), and nothing is recorded`,
    };
  }
  const look = `in the record of this request \`remote\` must be the address you come from, and never ${FORGED_ADDRESS}`;
  if (!site.recordsOf) {
    return {
      probe,
      outcome: "unseen",
      found: `${look}; give --audit, on the gateway's machine, to have it looked up`,
      ...idOf(answer),
    };
  }
  const [record] = await site.recordsOf(answer.requestId);
  if (!record) {
    return {
      probe,
      outcome: "unseen",
      found: `there is no record of this request in the audit log that was given; ${look}`,
      ...idOf(answer),
    };
  }
  if (record.remote === FORGED_ADDRESS) {
    return {
      probe,
      outcome: "wrong",
      found: `the record has the visitor's own ${FORGED_ADDRESS}`,
      why: "Whoever sends the header chooses the address in every record of theirs, and by what rates are limited.",
      fix: "Have what stands in front append to X-Forwarded-For: ARR does unless xForwardedForHeaderName is another.",
      ...idOf(answer),
    };
  }
  if (record.clientRequestId !== chosen) {
    return {
      probe,
      outcome: "wrong",
      found: "the record does not have the id that the visitor sent as clientRequestId",
      why: "It is how a caller's own trail is joined to ours.",
      fix: "See that nothing in front removes X-Request-Id from requests.",
      ...idOf(answer),
    };
  }
  return {
    probe,
    outcome: "right",
    found: `the record has ${record.remote ?? "no address"}, and the visitor's own id as clientRequestId`,
    ...idOf(answer),
  };
}
