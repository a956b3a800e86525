import { describe, expect, it } from "vitest";
import { bindWeights } from "../../../src/models/qwen3-next/bind-weights.ts";
import { parseConfig } from "../../../src/models/qwen3-next/config.ts";
import { mapWeights } from "../../../src/models/qwen3-next/weights.ts";
import { loadHostWeight } from "../../../src/reference/host-tensor.ts";
import type { Checkpoint } from "../../../src/weights/checkpoint.ts";
import { convertRows } from "../../../src/weights/convert.ts";
import { decodeRows } from "../../../src/weights/decode.ts";
import { FileListSource } from "../../../src/weights/file-list-source.ts";
import { openCheckpoint } from "../../../src/weights/open-checkpoint.ts";
import { relativeError } from "../../support/compare.ts";
import { type ModelFiles, toFiles } from "../../support/model-files.ts";
import { fixtureTensors, quantizedModel, shortened } from "../../support/quantized-model.ts";
import { QUANTIZERS } from "../../support/quantizers.ts";
import { inOrder, ReferenceSession } from "../../support/reference-model.ts";

const open = (files: ModelFiles) => openCheckpoint(new FileListSource(toFiles(files)));

const next = await fixtureTensors("qwen3-next-tiny");
const split = await fixtureTensors("qwen3.5-moe-tiny");

const models = [shortened(next), shortened(split)];

/** Logits with weights as they are read: what `auto` adds is measured by tensor. */
async function logits(checkpoint: Checkpoint): Promise<Float32Array> {
  const config = parseConfig(checkpoint.config);
  const weights = await mapWeights(bindWeights(config, checkpoint), (leaf) =>
    loadHostWeight(leaf, { quantization: leaf.auto ? "f32" : "auto" }),
  );
  return new ReferenceSession({ config, weights }).run([inOrder([11, 48, 85, 122, 159, 196])]).data;
}

describe.each(QUANTIZERS.map((quantizer, i) => ({ ...quantizer, model: models[i % 2] })))("$name", (quantizer) => {
  it("gives the weights and logits that were meant", async () => {
    const { files, plain } = quantizedModel(quantizer.model.config, quantizer.model.tensors, quantizer);
    const [checkpoint, meant] = await Promise.all([open(files), open(plain)]);
    expect([...checkpoint.tensors.keys()].sort()).toEqual([...meant.tensors.keys()].sort());
    let quantised = 0;
    for (const [name, expected] of meant.tensors) {
      const tensor = checkpoint.tensors.get(name)!;
      expect(tensor.shape, name).toEqual(expected.shape);
      if (tensor.format !== quantizer.format || tensor.shape.length === 1) continue;
      quantised++;
      const rows = tensor.shape[0];
      const values = decodeRows(await expected.read(0, rows));
      const read = await tensor.read(0, rows);
      expect(read.format).toBe(tensor.format);
      expect(tensor.auto ?? tensor.format, name).toBe(quantizer.device);
      expect(relativeError(decodeRows(read), values), name).toBeLessThan(quantizer.readError);
      const onDevice = decodeRows(convertRows(read, quantizer.device, name));
      expect(relativeError(onDevice, values), name).toBeLessThan(quantizer.deviceError);
    }
    expect(quantised).toBeGreaterThan(15);
    expect(relativeError(await logits(checkpoint), await logits(meant))).toBeLessThan(5 * quantizer.readError);
  });
});
