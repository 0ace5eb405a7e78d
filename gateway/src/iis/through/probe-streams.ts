import { once } from "node:events";
import { WebSocket } from "ws";
import { messageOf } from "../../errors.ts";
import type { Probed, Site } from "./probe.ts";
import { open, requestIdOf, Unreachable } from "./send.ts";

/** A stream begins with a comment at once; the next comes after 15 seconds, which lets nothing out of a buffer either. */
const FIRST_BYTE_SECONDS_MAX = 10;

/** Whether events come as they are sent: the time to the headers and to the first byte, and no compression. */
export async function probeEvents(site: Site): Promise<Probed> {
  const probe = "server-sent events";
  const { token, subject } = site;
  if (token === undefined || subject === undefined) {
    const found = `needs ${token === undefined ? "a token (COUNTERSIGN_TOKEN, or --token -)" : ""}${token === undefined && subject === undefined ? " and " : ""}${subject === undefined ? "--subject, which it may subscribe to" : ""}`;
    return { probe, outcome: "unseen", found };
  }
  const late = AbortSignal.any([site.signal, AbortSignal.timeout(FIRST_BYTE_SECONDS_MAX * 1_000)]);
  try {
    return { probe, ...(await seenOfStream({ ...site, token, subject }, late)) };
  } catch (error) {
    if (site.signal.aborted || !late.aborted) {
      throw error instanceof Unreachable ? error : new Unreachable(messageOf(error));
    }
    return { probe, outcome: "wrong", found: `nothing came in ${FIRST_BYTE_SECONDS_MAX} s`, ...BUFFERED };
  }
}

async function seenOfStream(
  { url, token, subject, clock }: Site & { readonly token: string; readonly subject: string },
  signal: AbortSignal,
): Promise<Omit<Probed, "probe">> {
  const begun = clock();
  const headers = {
    authorization: `Bearer ${token}`,
    accept: "text/event-stream",
    "accept-encoding": "gzip, deflate, br",
  };
  const response = await open(
    `${url}/v1/subscribe?subject=${encodeURIComponent(subject)}`,
    { headers },
    signal,
  );
  const requestId = requestIdOf(response.headers);
  const id = requestId === undefined ? {} : { requestId };
  try {
    if (response.statusCode !== 200) {
      const found = `the stream was answered with ${response.statusCode}: may the token subscribe to ${subject}?`;
      return { outcome: "unseen", found, ...id };
    }
    const encoding = response.headers["content-encoding"] ?? "identity";
    if (encoding !== "identity") {
      return { outcome: "wrong", found: `events are compressed (${encoding})`, ...COMPRESSED, ...id };
    }
    // A comment, or an event: whatever comes first.
    await once(response, "data", { signal });
    if (requestId === undefined) {
      return { outcome: "wrong", found: "the stream has no X-Request-Id", ...UNJOINED };
    }
    return {
      outcome: "right",
      found: `the first byte came after ${(clock() - begun).toFixed(3)} s`,
      requestId,
    };
  } finally {
    response.destroy();
  }
}

const BUFFERED = {
  why: "Something in front holds answers back until it has enough of them: events come late, or all at the end.",
  fix: "For ARR: appcmd set config -section:system.webServer/proxy /minResponseBuffer:0 /commit:apphost. HttpPlatformHandler cannot do it.",
} as const;

const UNJOINED = {
  why: "Its line in IIS's log cannot be joined to its record.",
  fix: "See that nothing in front removes X-Request-Id from answers.",
} as const;

const COMPRESSED = {
  why: "Dynamic compression holds each event back until the next one comes.",
  fix: '<urlCompression doDynamicCompression="false" />',
} as const;

const SOCKET_TIMEOUT_MS = 15_000;

/** Opens the native lane with compression offered, as browsers do, and waits for the first frame: INFO of NATS. */
export async function probeWebSocket(site: Site): Promise<Probed> {
  const probe = "WebSocket";
  const socket = new WebSocket(`${site.url.replace(/^http/, "ws")}/v1/nats`, "nats", {
    perMessageDeflate: true,
    handshakeTimeout: SOCKET_TIMEOUT_MS,
  });
  const seen: { requestId?: string; status?: number; extensions?: boolean; fault?: string } = {};
  socket.once("upgrade", ({ headers }) => {
    const requestId = requestIdOf(headers);
    if (requestId !== undefined) seen.requestId = requestId;
    seen.status = 101;
    seen.extensions = headers["sec-websocket-extensions"] !== undefined;
  });
  const ended = new Promise<"message" | "closed">((resolve) => {
    socket.once("message", () => resolve("message"));
    socket.once("close", () => resolve("closed"));
    socket.once("unexpected-response", (_request, response) => {
      const requestId = requestIdOf(response.headers);
      if (requestId !== undefined) seen.requestId = requestId;
      seen.status = response.statusCode ?? 0;
      response.destroy();
      resolve("closed");
    });
    // What is wrong is said by the close that follows.
    socket.on("error", (error) => {
      seen.fault ??= messageOf(error);
    });
    AbortSignal.any([site.signal, AbortSignal.timeout(SOCKET_TIMEOUT_MS)]).addEventListener(
      "abort",
      () => resolve("closed"),
      { once: true },
    );
  });
  const end = await ended;
  socket.terminate();
  return judgeWebSocket(probe, end, seen);
}

function judgeWebSocket(
  probe: string,
  end: "message" | "closed",
  {
    requestId,
    status,
    extensions,
    fault,
  }: {
    readonly requestId?: string;
    readonly status?: number;
    readonly extensions?: boolean;
    readonly fault?: string;
  },
): Probed {
  const id = requestId === undefined ? {} : { requestId };
  if (end === "message" && !extensions) {
    if (requestId === undefined) {
      return { probe, outcome: "wrong", found: "it opened, and the 101 has no X-Request-Id", ...UNJOINED };
    }
    return {
      probe,
      outcome: "right",
      found: "it opened without compression, and the first frame came",
      ...id,
    };
  }
  if (status === 101) {
    return {
      probe,
      outcome: "wrong",
      found: extensions
        ? "it opened with compression agreed"
        : `it opened, and no frame came${fault === undefined ? "" : `: ${fault}`}`,
      why: "ARR cannot carry compressed frames: the socket opens and then dies.",
      fix: '<set name="HTTP_SEC_WEBSOCKET_EXTENSIONS" value="" /> in the rule, allowed on the server.',
      ...id,
    };
  }
  if (status === 401 && requestId === undefined) {
    return { probe, outcome: "unseen", found: "something in front asks for a sign-in of its own (401)" };
  }
  return {
    probe,
    outcome: "wrong",
    found: `the upgrade was answered with ${status ?? `nothing${fault === undefined ? "" : `: ${fault}`}`}`,
    why: "Native NATS clients in browsers cannot connect.",
    fix: 'Install the feature WebSocket Protocol (Web-WebSockets), and take <webSocket enabled="false" /> out.',
    ...id,
  };
}
