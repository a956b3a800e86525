import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseConfig } from "../../src/models/qwen3-next/config.ts";
import { tensorShapes } from "../../src/models/qwen3-next/tensor-shapes.ts";
import { encodeRows } from "../../src/weights/convert.ts";
import { encodeSafetensors } from "../../src/weights/write-safetensors.ts";
import { madeUp } from "./memory-checkpoint.ts";

/** Writes a checkpoint of a shape, in the layout of Qwen3-Next, with made-up weights. */
export function writeModelFolder(folder: string, json: Readonly<Record<string, unknown>>): void {
  const tensors = Array.from(
    tensorShapes(parseConfig(json), { projections: "fused", experts: "single" }),
    ([name, shape]) => {
      const values = madeUp(
        name,
        shape.reduce((a, b) => a * b, 1),
      );
      return { name, dtype: "F32", shape, data: encodeRows(values, shape.at(-1)!, "f32", name).data };
    },
  );
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "config.json"), JSON.stringify(json));
  writeFileSync(join(folder, "model.safetensors"), encodeSafetensors(tensors));
}
