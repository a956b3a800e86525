import type { EngineRequest } from "../engine/engine.ts";

/** A request's `score`, told of each position once, where the request is sent again with what has come. */
export function scoredOnce({ score }: EngineRequest): EngineRequest["score"] {
  let scored = 0;
  return (
    score &&
    ((logits, position) => {
      if (position < scored) return;
      scored = position + 1;
      score(logits, position);
    })
  );
}
