import type { JetStreamJudge, JetStreamJudgeParts } from "./jetstream.ts";

/** Refuses all of it. */
export function createJetStreamJudge(_parts: JetStreamJudgeParts): JetStreamJudge {
  return {
    judge({ subject }) {
      const action = `publish ${subject.slice(0, 256)}`;
      return { do: "refuse", refusal: { reason: "not_granted", action }, action };
    },
    listens() {},
  };
}
