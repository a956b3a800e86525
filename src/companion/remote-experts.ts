import type { CompanionStats } from "../api/types.ts";
import type { ExpertHost, ExpertInput, ExpertShape } from "../paging/expert-host.ts";
import { floats } from "./frames.ts";
import type { Link } from "./link.ts";

/** Bytes of a frame, so that several are under way where there are many rows. */
const FRAME_BYTES = 2 ** 18;

/** Experts at the other end of a link. A sum that a break has cost is asked for again. */
export class RemoteExperts implements ExpertHost {
  readonly shape: ExpertShape;
  readonly isVital: boolean;
  readonly #link: Link;
  #count = 0;
  #rows = 0;
  #experts = 0;
  #waitMs = 0;

  constructor(link: Link, shape: ExpertShape, isVital: boolean) {
    this.#link = link;
    this.shape = shape;
    this.isVital = isVital;
  }

  get stats(): CompanionStats {
    const sums = { count: this.#count, rows: this.#rows, experts: this.#experts, waitMs: this.#waitMs };
    return { state: this.#link.state, ...this.#link.counts, sums };
  }

  async sum(layer: number, { x, ids, weights }: ExpertInput): Promise<Float32Array<ArrayBuffer>> {
    const { hidden, topK } = this.shape;
    const rows = x.length / hidden;
    const step = Math.max(1, Math.floor(FRAME_BYTES / (4 * (hidden + 2 * topK))));
    const sums = new Float32Array(x.length);
    const startMs = performance.now();
    const parts = Array.from({ length: Math.ceil(rows / step) }, async (_, part) => {
      const from = part * step;
      const to = Math.min(from + step, rows);
      const { payload } = await this.#link.call({ kind: "sum", layer, rows: to - from }, [
        x.subarray(from * hidden, to * hidden),
        ids.subarray(from * topK, to * topK),
        weights.subarray(from * topK, to * topK),
      ]);
      sums.set(floats(payload), from * hidden);
    });
    await Promise.all(parts);
    this.#count++;
    this.#rows += rows;
    this.#experts += weights.reduce((count, weight) => count + Number(weight !== 0), 0);
    this.#waitMs += performance.now() - startMs;
    return sums;
  }

  dispose(): void {
    this.#link.close();
  }
}
