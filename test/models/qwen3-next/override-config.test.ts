import { describe, expect, it } from "vitest";
import { parseConfig } from "../../../src/models/qwen3-next/config.ts";
import { overrideConfig } from "../../../src/models/qwen3-next/override-config.ts";
import { SHAPES } from "../../../src/models/qwen3-next/shapes.ts";

const YARN = { rope_type: "yarn", factor: 4, original_max_position_embeddings: 262_144 };
const plain = { ...SHAPES["qwen3-next-80b-a3b"], max_position_embeddings: 262_144 };

describe("an override of rotary positions", () => {
  it.each([
    ["as newer files have it", { rope_parameters: YARN }],
    ["as older ones have it", { rope_scaling: YARN }],
    ["with its oldest spelling", { rope_scaling: { ...YARN, rope_type: undefined, type: "yarn" } }],
    ["inside of text_config", { text_config: { rope_parameters: YARN } }],
  ])("%s stretches the context", (_, overrides) => {
    const config = parseConfig(overrideConfig(plain, overrides));
    expect(config.maxPositions).toBe(1_048_576);
    expect(config.rope).toMatchObject({ theta: 1e7, yarn: { factor: 4, originalPositions: 262_144 } });
  });

  it("wins over either spelling in the file", () => {
    for (const name of ["rope_parameters", "rope_scaling"]) {
      const file = {
        ...plain,
        [name]: { rope_type: "yarn", factor: 2, original_max_position_embeddings: 131_072, rope_theta: 1e6 },
      };
      const { rope } = parseConfig(overrideConfig(file, { rope_parameters: YARN }));
      expect(rope).toMatchObject({ theta: 1e6, yarn: { factor: 4 } });
    }
  });

  it("is found within a wrapper", () => {
    const wrapped = {
      model_type: "qwen3_5_moe",
      text_config: { ...SHAPES["qwen3.5-35b-a3b"], model_type: "qwen3_5_moe_text" },
    };
    expect(parseConfig(overrideConfig(wrapped, { rope_parameters: YARN })).rope.yarn?.factor).toBe(4);
    expect(parseConfig(overrideConfig(wrapped, { max_position_embeddings: 999 })).maxPositions).toBe(999);
  });
});

it("leaves a config without overrides as it is", () => {
  expect(parseConfig(overrideConfig(plain, {}))).toEqual(parseConfig(plain));
});
