// Makes the demo's Sprout from the bf16 checkpoint: `npm run build:sprout -- FOLDER`.
import { mkdir, open, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { FolderSource } from "../src/platform/node/folder-source.ts";
import type { CheckpointTensor } from "../src/weights/checkpoint.ts";
import { canQuantize, convertRows } from "../src/weights/convert.ts";
import { dataBytes, scaleBytes, type WeightFormat } from "../src/weights/format.ts";
import { openCheckpoint } from "../src/weights/open-checkpoint.ts";
import { PACKED_METADATA, packedLayout } from "../src/weights/packed-tensors.ts";
import { type TensorSource, writeSafetensors } from "../src/weights/write-safetensors.ts";

const MAX_BYTES = 25e6;
const OUTPUT = "demo/public/models/sprout";
const COPIED = ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "DATA.md"];

/**
 * Experts, two thirds of the weights, take 4 bits; other matrices 8. What decides the routing, the decay and the gates
 * stays as it is, as do vectors and whatever has no whole groups of 32.
 */
function formatOf({ name, shape, format }: CheckpointTensor): WeightFormat {
  const isMatrix = shape.length > 1 && canQuantize(shape.at(-1)!);
  if (!isMatrix || /\.(gate|shared_expert_gate|in_proj_ba)\.weight$/.test(name)) return format;
  return name.includes(".experts.") ? "q4" : "q8";
}

const source = process.argv[2];
if (!source) throw new Error("Which checkpoint? npm run build:sprout -- FOLDER");
const checkpoint = await openCheckpoint(await FolderSource.open(source));
await mkdir(OUTPUT, { recursive: true });
for (const name of COPIED) await writeFile(join(OUTPUT, name), await readFile(join(source, name)));
await writeFile(join(OUTPUT, "chat_template.jinja"), checkpoint.chatTemplate!);
await writeFile(join(OUTPUT, "README.md"), readme(await readFile(join(source, "README.md"), "utf8")));

const tensors: TensorSource[] = [];
for (const tensor of checkpoint.tensors.values()) tensors.push(...(await converted(tensor, formatOf(tensor))));
const file = await open(join(OUTPUT, "model.safetensors"), "w");
let bytes = 0;
await writeSafetensors(
  async (part) => {
    bytes += part.length;
    await file.write(part);
  },
  tensors,
  PACKED_METADATA,
);
await file.close();
await checkpoint.close();
if (bytes > MAX_BYTES) throw new Error(`${bytes} bytes are more than the demo may carry (${MAX_BYTES})`);
console.log(
  `${OUTPUT}: ${(bytes / 1e6).toFixed(1)} MB of weights, ${(checkpoint.sizeBytes / 1e6).toFixed(1)} MB before`,
);

/** The tensors that hold `tensor` in `format`, in the checkpoint's order of rows. */
async function converted(tensor: CheckpointTensor, format: WeightFormat): Promise<TensorSource[]> {
  const { name, shape } = tensor;
  const rows = shape.slice(0, -1).reduce((product, size) => product * size, 1);
  const { data, scales } = convertRows(await tensor.read(0, rows), format, name);
  const elements = rows * shape.at(-1)!;
  const sizeBytes = dataBytes(format, elements);
  if (format !== "q4" && format !== "q8") {
    return [{ name, shape, dtype: format.toUpperCase(), sizeBytes, parts: () => [data] }];
  }
  const layout = packedLayout(name, shape, format);
  return [
    { ...layout.data, sizeBytes, parts: () => [data] },
    { ...layout.scales, sizeBytes: scaleBytes(format, elements), parts: () => [scales!] },
  ];
}

/** The source's own page, after what was changed and the terms under which it is passed on. */
function readme(original: string): string {
  const [, frontMatter, body] = original.match(/^(---\n.*?\n---\n)(.*)$/s) ?? ["", "", original];
  return `${frontMatter}
# Sprout, quantised

Sprout for Sluice's demo page. Changed from the original: the experts' matrices have 4 bits a weight, the other matrices,
embedding and output head 8, with one f16 scale for every 32; routers, gates and vectors are unchanged. \`demo/build-sprout.ts\`
makes it; \`src/weights/packed-tensors.ts\` describes the file.

Weights: CC BY-SA 4.0 (https://creativecommons.org/licenses/by-sa/4.0/). Sources of the training data, their licences and
the attribution that they ask for: DATA.md. The original's page follows; its figures are those of the bf16 weights.

---
${body}`;
}
