import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { parseSafetensors } from "../../src/weights/safetensors.ts";
import { fixtureFolder } from "./reference-model.ts";

/** What transformers computed for a fixture (test/fixtures/README.md). */
export interface Golden {
  readonly tokens: readonly number[];
  /** [T, V] */
  readonly logits: Float32Array;
  /** [T, H] each: the embedding, after each layer but the last, after the final norm. */
  readonly hidden: readonly Float32Array[];
  /** Chosen experts of each layer, [T, k]; none in a dense model. */
  readonly router: readonly Int32Array[];
  readonly greedy: readonly number[];
}

export async function readGolden(fixture: string): Promise<Golden> {
  const path = join(fixtureFolder(fixture), "reference.safetensors");
  const file = new Uint8Array(await readFile(path));
  const { tensors } = parseSafetensors(file, path);
  const bytes = (name: string) => {
    const tensor = tensors.find((entry) => entry.name === name);
    return tensor ? file.slice(tensor.from, tensor.to).buffer : new ArrayBuffer(0);
  };
  const tokens = [...new Int32Array(bytes("tokens"))];
  return {
    tokens,
    logits: new Float32Array(bytes("logits")),
    hidden: chunks(new Float32Array(bytes("hidden")), layerCount(tensors, "hidden")),
    router: chunks(new Int32Array(bytes("router")), layerCount(tensors, "router")),
    greedy: [...new Int32Array(bytes("greedy"))],
  };
}

const layerCount = (tensors: readonly { name: string; shape: readonly number[] }[], name: string): number =>
  tensors.find((entry) => entry.name === name)?.shape[0] ?? 0;

function chunks<T extends Float32Array | Int32Array>(data: T, count: number): T[] {
  const size = data.length / count;
  return Array.from({ length: count }, (_, i) => data.subarray(i * size, (i + 1) * size) as T);
}
