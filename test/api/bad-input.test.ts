import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { LocalLLM } from "../../src/api/llm.ts";
import type { LoadOptions, LoadProgress, ModelSource } from "../../src/api/types.ts";
import {
  CheckpointError,
  InvalidRequestError,
  NumericalError,
  OutOfMemoryError,
  UnsupportedDeviceError,
  UnsupportedModelError,
} from "../../src/errors.ts";
import { type FixtureChanges, filled, fixtureFiles } from "../support/fixture-files.ts";
import { ObservedPlatform } from "../support/observed-platform.ts";
import { fixtureFolder } from "../support/reference-model.ts";

const FIXTURE = "qwen3-next-tiny";
const MATRIX = "model.layers.1.linear_attn.out_proj.weight";

let emptyFolder: string;
beforeAll(async () => {
  emptyFolder = await mkdtemp(join(tmpdir(), "sluice-"));
});
afterAll(() => rm(emptyFolder, { recursive: true }));

/** What loading fails with; whatever it opened has to be closed then. */
async function failureOf(source: ModelSource, options: LoadOptions, platform = new ObservedPlatform()): Promise<Error> {
  const error = await LocalLLM.load(platform, source, { maxContext: 128, ...options }).then(
    () => expect.fail("nothing failed"),
    (failure: Error) => failure,
  );
  expect(platform.openSources, "files left open").toBe(0);
  expect(platform.openDevices, "devices left open").toBe(0);
  return error;
}

describe("a checkpoint is refused", () => {
  const changed = (name: string, change: (data: Uint8Array) => object): FixtureChanges => ({
    tensor: (tensor) => (tensor.name === name ? { ...tensor, ...change(tensor.data) } : tensor),
  });

  test.each<[string, FixtureChanges, new (...args: never[]) => Error, RegExp]>([
    ["without config.json", { files: { "config.json": undefined } }, CheckpointError, /no config\.json/],
    ["without weights", { files: { "model.safetensors": undefined } }, CheckpointError, /neither model\.safetensors/],
    ["with half a config.json", { files: { "config.json": '{"model_type"' } }, CheckpointError, /config\.json.*JSON/],
    ["cut off", { weights: (bytes) => bytes.subarray(0, 3e6) }, CheckpointError, /truncated/],
    ["cut off in its header", { weights: (bytes) => bytes.subarray(0, 100) }, CheckpointError, /truncated/],
    [
      "with a broken header",
      { weights: (bytes) => bytes.map((byte, i) => (i === 9 ? 0 : byte)) },
      CheckpointError,
      /header is not JSON/,
    ],
    [
      "with a tensor missing",
      { tensor: (t) => (t.name === MATRIX ? { ...t, name: "other" } : t) },
      CheckpointError,
      /out_proj\.weight .* is missing/,
    ],
    [
      "with a tensor of another shape",
      changed(MATRIX, (data) => ({ shape: [data.length / 2] })),
      CheckpointError,
      /out_proj\.weight is \[.*has to be \[/,
    ],
    ["with a tensor of another dtype", changed(MATRIX, () => ({ dtype: "I32" })), CheckpointError, /I32/],
    [
      "with a weight that is NaN",
      { tensor: (t) => (t.name === MATRIX ? filled(t, Number.NaN) : t) },
      CheckpointError,
      /out_proj\.weight.*NaN/,
    ],
    ["that is Llama's", { config: { model_type: "llama" } }, UnsupportedModelError, /does not run llama.*Qwen3-Next/],
    [
      "that names its class only",
      { config: { model_type: undefined, architectures: ["LlamaForCausalLM"] } },
      UnsupportedModelError,
      /LlamaForCausalLM/,
    ],
    ["of a later family", { config: { model_type: "qwen4_exp" } }, UnsupportedModelError, /qwen4_exp.*differently/],
    [
      "whose tokenizer is no BPE",
      { files: { "tokenizer.json": '{"model":{"type":"Unigram","vocab":[]}}' } },
      CheckpointError,
      /tokenizer\.json.*Unigram/,
    ],
    ["whose template is broken", { files: { "chat_template.jinja": "{% if %}" } }, CheckpointError, /template/],
    ["whose sampling cannot be", { generationConfig: { top_p: 0 } }, CheckpointError, /generation_config\.json.*topP/],
    [
      "whose last token is none",
      { generationConfig: { eos_token_id: 100_000 } },
      CheckpointError,
      /generation_config\.json.*100000/,
    ],
  ])("%s", async (_, changes, kind, message) => {
    const error = await failureOf(await fixtureFiles(FIXTURE, changes), {});
    expect(error).toBeInstanceOf(kind);
    expect(error.message).toMatch(message);
  });

  test.each([
    ["that is not there", () => join(emptyFolder, "missing"), /no such folder/],
    ["that is empty", () => emptyFolder, /no config\.json/],
    ["that is a file", () => join(fixtureFolder(FIXTURE), "config.json"), /not a folder/],
  ])("in a folder %s", async (_, folder, message) => {
    const error = await failureOf(folder(), {});
    expect(error).toBeInstanceOf(CheckpointError);
    expect(error.message).toMatch(message);
  });
});

describe("an option is refused", () => {
  test.each<[string, LoadOptions, new (...args: never[]) => Error, RegExp]>([
    ["maxContext", { maxContext: 4097 }, InvalidRequestError, /maxContext: 4097.*from 2 to 4096/],
    ["maxContext", { maxContext: 10.5 }, InvalidRequestError, /maxContext: 10\.5/],
    ["quantization", { quantization: "q5" as "q4" }, InvalidRequestError, /quantization: q5 is none of.*q4/],
    ["dtype", { device: { dtype: "f64" as "f32" } }, InvalidRequestError, /device\.dtype: f64/],
    ["adapter", { device: { adapter: "Voodoo 2" } }, UnsupportedDeviceError, /No WebGPU adapter has "Voodoo 2"/],
  ])("%s", async (_, options, kind, message) => {
    const error = await failureOf(fixtureFolder(FIXTURE), options);
    expect(error).toBeInstanceOf(kind);
    expect(error.message).toMatch(message);
  });
});

describe("too little memory", () => {
  /** The bytes of all buffers that a device has made. */
  function counting() {
    const sizes: number[] = [];
    const onDevice = (device: GPUDevice) => {
      const createBuffer = device.createBuffer.bind(device);
      device.createBuffer = (descriptor) => {
        sizes.push(descriptor.size);
        return createBuffer(descriptor);
      };
    };
    return { sizes, onDevice };
  }

  test("in one buffer of the cache is met before anything is allocated", async () => {
    const { sizes, onDevice } = counting();
    const platform = new ObservedPlatform({ onDevice, limits: { maxStorageBufferBindingSize: 128 * 2 ** 20 } });
    const files = await fixtureFiles(FIXTURE, { config: { max_position_embeddings: 2 ** 18 } });
    const error = await failureOf(files, { maxContext: 2 ** 18, device: { dtype: "f32" } }, platform);
    expect(error).toBeInstanceOf(OutOfMemoryError);
    expect(error).toMatchObject({ requestedBytes: (2 ** 18 + 64) * 2 * 256 * 4 });
    expect(error.message).toMatch(/layer 3 keys takes 537 MB.*allows 134 MB.*smaller maxContext/);
    expect(sizes).toEqual([]);
  });

  test.each([
    ["the state", 1],
    ["a weight", 5],
  ])("on the device, for %s, ends the loading there", async (_, failing) => {
    const progress: LoadProgress[] = [];
    const onDevice = (device: GPUDevice) => {
      let scopes = 0;
      const popErrorScope = device.popErrorScope.bind(device);
      device.popErrorScope = async () => {
        const error = await popErrorScope();
        return ++scopes === failing ? new GPUOutOfMemoryError("no room") : error;
      };
    };
    const platform = new ObservedPlatform({ onDevice });
    const onProgress = (p: LoadProgress) => progress.push(p);
    const error = await failureOf(fixtureFolder(FIXTURE), { onProgress }, platform);
    expect(error).toBeInstanceOf(OutOfMemoryError);
    expect(error.message).toMatch(/has no room for .*MB.*smaller maxContext/);
    expect(progress.at(-1)!.loadedBytes).toBeLessThan(progress.at(-1)!.totalBytes / 2);
  });
});

describe("loading", () => {
  test.each(["weights", "compile"] as const)("aborted in its phase %s leaves nothing open", async (phase) => {
    const controller = new AbortController();
    const onProgress = (progress: LoadProgress) => {
      if (progress.phase === phase) controller.abort();
    };
    const error = await failureOf(fixtureFolder(FIXTURE), { signal: controller.signal, onProgress });
    expect(error.name).toBe("AbortError");
  });

  test.each(["open", "weights", "ready"] as const)(
    "leaves nothing open where onProgress fails at %s",
    async (phase) => {
      const onProgress = (progress: LoadProgress) => {
        if (progress.phase === phase) throw new Error("the page is gone");
      };
      expect((await failureOf(fixtureFolder(FIXTURE), { onProgress })).message).toBe("the page is gone");
    },
  );
});

test("numbers that overflow end a reply, and the model goes on", async () => {
  const huge = await fixtureFiles(FIXTURE, {
    tensor: (t) => (t.name === "model.layers.3.self_attn.o_proj.weight" ? filled(t, 3e38) : t),
  });
  const platform = new ObservedPlatform();
  const llm = await LocalLLM.load(platform, huge, { maxContext: 128, device: { dtype: "f32" } });
  for (const prompt of [
    [1, 2, 3],
    [1, 2, 3, 4],
  ]) {
    const error = await llm
      .generate(prompt)
      .finish()
      .catch((failure) => failure);
    expect(error).toBeInstanceOf(NumericalError);
    expect(error.message).toContain("f32");
  }
  await llm.dispose();
  expect(platform.openDevices).toBe(0);
});
