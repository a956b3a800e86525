import { typicalMs } from "../common/typical-ms.ts";
import { CompanionError } from "../errors.ts";
import type { ExpertShape } from "../paging/expert-host.ts";
import type { Link } from "./link.ts";
import type { Welcome } from "./protocol.ts";
import { RemoteExperts } from "./remote-experts.ts";

/** What a companion takes to answer, its work and the way there and back. */
export interface AnswerTimes {
  /** A sum of one row. */
  readonly sumMs?: number;
  /** One row through all of its layers. */
  readonly passMs?: number;
}

const ANSWERS = { stretch: 1, stretches: 15 };

/** Asks for what `experts` and `layers` would ask for, of nothing in particular. What is refused is left out. */
export async function measureAnswers(link: Link): Promise<AnswerTimes> {
  const { experts, layers } = link.welcome;
  return {
    sumMs: experts && (await sumMs(link, experts)),
    passMs: layers && (await passMs(link, layers).catch(unlessBusy)),
  };
}

/** There may be no room for states. */
function unlessBusy(error: unknown): undefined {
  if (error instanceof CompanionError && error.reason === "busy") return undefined;
  throw error;
}

function sumMs(link: Link, shape: ExpertShape): Promise<number> {
  const { hidden, topK } = shape;
  const remote = new RemoteExperts(link, shape, true);
  const x = new Float32Array(hidden).fill(1);
  const ids = Uint32Array.from({ length: topK }, (_, i) => i);
  const weights = new Float32Array(topK).fill(1 / topK);
  return typicalMs((time) => remote.sum(time % shape.layers, { x, ids, weights }), ANSWERS);
}

async function passMs(link: Link, { count, hidden }: NonNullable<Welcome["layers"]>): Promise<number> {
  const state = crypto.randomUUID();
  const sizes = { maxContext: 64, maxBatchTokens: 1, maxSequences: 1, snapshots: 0, cacheTokens: 64 };
  await link.call({ kind: "open", state, from: 0, to: count, ...sizes });
  const row = new Float32Array(hidden).fill(0.1);
  return typicalMs((turn) => {
    const sequences = [{ slot: 0, position: turn, rows: 1, keep: 1, same: Math.min(turn, 1), blocks: turn ? [] : [0] }];
    return link.call({ kind: "step", state, turn, answered: turn, work: "decode", copies: [], sequences }, [row]);
  }, ANSWERS);
}
