import { UnsupportedModelError } from "../../errors.ts";
import { field, type Json, wholeNumber } from "./config-fields.ts";

/** Rotary position embedding, with old and new spellings resolved. */
export interface RopeConfig {
  readonly theta: number;
  /** Leading dimensions of a head that rotate. */
  readonly rotaryDim: number;
  readonly yarn?: YarnConfig;
}

/** YaRN (Peng et al. 2023): slow frequencies are stretched by `factor`, fast ones kept. */
export interface YarnConfig {
  readonly factor: number;
  readonly originalPositions: number;
  readonly betaFast: number;
  readonly betaSlow: number;
  /** Round the ends of the ramp outwards to whole dimensions. */
  readonly truncate: boolean;
  /** Multiplies cosine and sine. */
  readonly magnitude: number;
}

/**
 * `rope_scaling` (older files) wins over `rope_parameters` (newer), both over keys beside them. A missing base is refused:
 * the usual default of 10000 is wrong for the published models.
 */
export function ropeConfig(text: Json, headDim: number): RopeConfig {
  const scaling = text.rope_scaling as Json | null | undefined;
  const rope: Json = { ...(text.rope_parameters as Json | null), ...scaling };
  const theta = rope.rope_theta ?? text.rope_theta;
  if (theta === undefined || theta === null) {
    throw new UnsupportedModelError("config.json has no rope_theta, neither in rope_parameters nor at top level.");
  }
  const partial = positive("partial_rotary_factor", rope.partial_rotary_factor ?? text.partial_rotary_factor ?? 0.25);
  const rotaryDim = Math.trunc(headDim * partial);
  if (rotaryDim < 2 || rotaryDim > headDim || rotaryDim % 2 !== 0) {
    throw new UnsupportedModelError(
      `config.json: partial_rotary_factor ${partial} makes ${rotaryDim} of ${headDim} dimensions rotate; an even number must.`,
    );
  }
  const type = scaling?.rope_type ?? scaling?.type ?? rope.rope_type ?? rope.type ?? text.rope_type ?? "default";
  if (type !== "default" && type !== "yarn") {
    throw new UnsupportedModelError(
      `config.json: rope_type ${String(type)} is unknown; Sluice knows default and yarn.`,
    );
  }
  return {
    theta: positive("rope_theta", theta),
    rotaryDim,
    yarn: type === "yarn" ? yarnConfig(rope, text) : undefined,
  };
}

function yarnConfig(rope: Json, text: Json): YarnConfig {
  const positions = text.max_position_embeddings;
  const originalPositions = wholeNumber(
    "original_max_position_embeddings",
    rope.original_max_position_embeddings ?? positions,
  );
  const factor = positive("factor", rope.factor ?? Number(positions) / originalPositions);
  return {
    factor,
    originalPositions,
    betaFast: positive("beta_fast", rope.beta_fast ?? 32),
    betaSlow: positive("beta_slow", rope.beta_slow ?? 1),
    truncate: rope.truncate !== false,
    magnitude: positive("attention_factor", rope.attention_factor ?? yarnMagnitude(factor, rope)),
  };
}

function yarnMagnitude(factor: number, { mscale, mscale_all_dim }: Json): number {
  const scale = (weight: number) => (factor <= 1 ? 1 : 0.1 * weight * Math.log(factor) + 1);
  return mscale && mscale_all_dim ? scale(Number(mscale)) / scale(Number(mscale_all_dim)) : scale(1);
}

const positive = (name: string, value: unknown): number =>
  field(name, value, (x) => Number.isFinite(x) && x > 0, "a positive number");
