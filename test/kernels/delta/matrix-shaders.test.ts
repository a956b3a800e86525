import { expect, test } from "vitest";
import type { GpuBuffer, GpuWeight } from "../../../src/gpu/resources.ts";
import { gatedDelta } from "../../../src/ops/gpu/delta.ts";
import { compilerMessages, largeGpuRecorder } from "../../support/null-device.ts";

test.each([64, 128])("the delta rule by matrices of 16 × 16 compiles for heads of %i", async (dim) => {
  const batch = { maxTokens: 512, maxSequences: 4, kind: "prefill" } as const;
  const recorder = largeGpuRecorder(batch);
  const buffer: GpuBuffer = { kind: "buffer", label: "buffer", sizeBytes: 16 };
  const vector: GpuWeight = { kind: "weight", label: "vector", format: "f32", rows: 1, columns: 32 };
  gatedDelta(
    { recorder, batchBuffer: buffer, rope: buffer },
    recorder.input("qkv", batch.maxTokens, 64 * dim),
    recorder.input("gates", batch.maxTokens, 64),
    {
      shape: { keyHeads: 16, valueHeads: 32, keyDim: dim, valueDim: dim, convTaps: 4 },
      negA: vector,
      dtBias: vector,
    },
    { kind: "recurrent", conv: buffer, delta: buffer },
    batch,
  );
  expect(recorder.dispatches.map((d) => d.kernel)).toEqual(["delta-prepare", "delta-matrix-scan"]);
  expect(await compilerMessages(recorder)).toEqual([]);
});
