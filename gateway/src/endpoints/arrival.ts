import type { IncomingMessage } from "node:http";
import { uuidv7 } from "@countersign/seal";
import type { RequestFacts } from "../admit.ts";
import type { Hop, JudgeHop } from "../hop/hop.ts";
import type { Outcome } from "../refusal.ts";
import type { Clock } from "../time.ts";
import { clientRequestIdOf, clientTraceparentOf } from "./request-id.ts";

/** One request as it arrived, whether it is to be answered or upgraded. */
export interface Arrival {
  /** What joins its records; also of one that is refused for what it came through. */
  readonly facts: RequestFacts;
  /** Refused: it may not go on, and that is to be recorded. */
  readonly hop: Outcome<Hop>;
}

export interface ArrivalParts {
  readonly judgeHop: JudgeHop;
  readonly lane: RequestFacts["lane"];
  readonly clock: Clock;
}

/**
 * Judges what a request came through and gives it its ids. Takes the headers by which the hop proves itself and
 * names a user out of the request: to be called once for each, before anything else reads it.
 */
export function arrivalOf(request: IncomingMessage, { judgeHop, lane, clock }: ArrivalParts): Arrival {
  const id = uuidv7(clock() * 1000);
  const hop = judgeHop(request);
  const taken = hop.ok ? hop.value.requestId : undefined;
  const clientRequestId = clientRequestIdOf(request.headers["x-request-id"]);
  const clientTraceparent = clientTraceparentOf(request.headers.traceparent);
  return {
    facts: {
      txn: id,
      requestId: taken ?? id,
      lane,
      ...(clientRequestId !== undefined && taken === undefined && { clientRequestId }),
      ...(clientTraceparent !== undefined && { clientTraceparent }),
      ...addressesOf(request, hop),
    },
    hop,
  };
}

/** Behind a hop the caller is who it says, and only then; else whoever is at the other end of the connection. */
function addressesOf({ socket }: IncomingMessage, hop: Outcome<Hop>): Pick<RequestFacts, "remote" | "hop"> {
  const peer = socket.remoteAddress;
  if (!hop.ok || !hop.value.forwards) return peer === undefined ? {} : { remote: peer };
  const { caller } = hop.value;
  return { ...(caller !== undefined && { remote: caller }), hop: peer ?? LOCAL_SOCKET };
}

const LOCAL_SOCKET = "socket";
