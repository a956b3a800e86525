import { eachAtOnce } from "../../common/turns.ts";
import type { DeltaWeights, ExpertWeights, Norm, QueryKeyNorms, Weight } from "../../ops/ops.ts";

/**
 * The model's weights in canonical form: what every checkpoint of the family is turned into while it is opened, so that
 * the formulas know one convention. `W` is a `WeightSource` before loading and a `Weight` of some `Ops` after.
 */
export interface ModelWeights<W = Weight> {
  /** [V, H] */
  readonly embedding: W;
  readonly layers: readonly LayerWeights<W>[];
  readonly finalNorm: Norm<W>;
  /** [V, H]; where embeddings are tied, the same object as `embedding`. */
  readonly head: W;
}

export interface LayerWeights<W = Weight> {
  readonly inputNorm: Norm<W>;
  readonly mixer: DeltaMixerWeights<W> | AttentionMixerWeights<W>;
  readonly postMixerNorm: Norm<W>;
  readonly feedForward: MoeWeights<W> | DenseWeights<W>;
}

export interface DeltaMixerWeights<W = Weight> {
  readonly kind: "delta";
  /** [2·Kd + 2·Vd, H], rows q | k | v | z, each by ascending head. */
  readonly inProj: W;
  /** [2·Hv, H], rows b | a. */
  readonly gateProj: W;
  /** [2·Kd + Vd, taps] */
  readonly conv: W;
  readonly delta: DeltaWeights<W>;
  /** One head wide. */
  readonly outNorm: Norm<W>;
  /** [H, Vd] */
  readonly outProj: W;
}

export interface AttentionMixerWeights<W = Weight> {
  readonly kind: "attention";
  /** [2·nq·hd + 2·nkv·hd, H], rows per query head q | gate, then k, then v. */
  readonly inProj: W;
  readonly norms: QueryKeyNorms<W>;
  /** [H, nq·hd] */
  readonly outProj: W;
}

export interface MoeWeights<W = Weight> {
  readonly kind: "moe";
  /** [E, H] */
  readonly router: W;
  readonly experts: ExpertWeights<W>;
  /** [2·Is, H], gate rows, then up rows. */
  readonly sharedGateUp: W;
  /** [H, Is] */
  readonly sharedDown: W;
  /** [1, H] */
  readonly sharedGate: W;
}

export interface DenseWeights<W = Weight> {
  readonly kind: "dense";
  /** [2·F, H], gate rows, then up rows. */
  readonly gateUp: W;
  /** [H, F] */
  readonly down: W;
}

/** The same weights with each leaf turned by `load`, `atOnce` of them in the order of use; a shared leaf only once. */
export async function mapWeights<A, B>(
  weights: ModelWeights<A>,
  load: (leaf: A) => Promise<B>,
  atOnce = 1,
): Promise<ModelWeights<B>> {
  const leaves = weightLeaves(weights);
  const loaded = new Map<A, B>();
  await eachAtOnce(leaves, atOnce, async (leaf) => {
    loaded.set(leaf, await load(leaf));
  });
  return convertWeights(weights, (leaf) => loaded.get(leaf) as B);
}

/** Every matrix and vector once, in the order of use. */
export function weightLeaves<W>(weights: ModelWeights<W>): W[] {
  const leaves = new Set<W>();
  convertWeights(weights, (leaf) => leaves.add(leaf));
  return [...leaves];
}

/** Parameters of the model, and those that work on one token. */
export const countParameters = (weights: ModelWeights<Weight>): { total: number; active: number } =>
  sumWeights(weights, ({ rows, columns }) => rows * columns);

/** Sum of `size` over the model, and over what works on one token: k of E experts, and next to nothing of the embedding. */
export function sumWeights<W>(weights: ModelWeights<W>, size: (leaf: W) => number): { total: number; active: number } {
  const total = weightLeaves(weights).reduce((sum, leaf) => sum + size(leaf), 0);
  let idle = weights.head === weights.embedding ? 0 : size(weights.embedding);
  for (const { feedForward } of weights.layers) {
    if (feedForward.kind === "dense") continue;
    const { gateUp, down, topK, experts } = feedForward.experts;
    idle += ((size(gateUp) + size(down)) / experts) * (experts - topK);
  }
  return { total, active: total - idle };
}

/** The same tree with each leaf turned by `f`; a shared leaf is turned at each place. */
export function convertWeights<A, B>(weights: ModelWeights<A>, f: (leaf: A) => B): ModelWeights<B> {
  const norm = ({ weight, eps }: Norm<A>): Norm<B> => ({ weight: f(weight), eps });

  const mixer = (
    w: DeltaMixerWeights<A> | AttentionMixerWeights<A>,
  ): DeltaMixerWeights<B> | AttentionMixerWeights<B> =>
    w.kind === "delta"
      ? {
          kind: w.kind,
          inProj: f(w.inProj),
          gateProj: f(w.gateProj),
          conv: f(w.conv),
          delta: { shape: w.delta.shape, negA: f(w.delta.negA), dtBias: f(w.delta.dtBias) },
          outNorm: norm(w.outNorm),
          outProj: f(w.outProj),
        }
      : {
          kind: w.kind,
          inProj: f(w.inProj),
          norms: { shape: w.norms.shape, query: norm(w.norms.query), key: norm(w.norms.key) },
          outProj: f(w.outProj),
        };

  const feedForward = (w: MoeWeights<A> | DenseWeights<A>): MoeWeights<B> | DenseWeights<B> =>
    w.kind === "moe"
      ? {
          kind: w.kind,
          router: f(w.router),
          experts: { ...w.experts, gateUp: f(w.experts.gateUp), down: f(w.experts.down) },
          sharedGateUp: f(w.sharedGateUp),
          sharedDown: f(w.sharedDown),
          sharedGate: f(w.sharedGate),
        }
      : { kind: w.kind, gateUp: f(w.gateUp), down: f(w.down) };

  return {
    embedding: f(weights.embedding),
    layers: weights.layers.map((layer) => ({
      inputNorm: norm(layer.inputNorm),
      mixer: mixer(layer.mixer),
      postMixerNorm: norm(layer.postMixerNorm),
      feedForward: feedForward(layer.feedForward),
    })),
    finalNorm: norm(weights.finalNorm),
    head: f(weights.head),
  };
}
