import type { CheckpointTensor, FileSource } from "../checkpoint.ts";
import type { StoredTensor } from "../safetensors.ts";
import { awqTensor } from "./awq.ts";
import { ColumnReader } from "./columns.ts";
import { compressedFp4, mlxFp4, modeloptFp4 } from "./fp4.ts";
import { fp8Tensor, SCALE_TYPES } from "./fp8.ts";
import { gptqTensor } from "./gptq.ts";
import { int8Tensor, mlxAffine, packQuantized } from "./packed-integers.ts";
import { Parts } from "./parts.ts";
import type { MlxOptions, Scheme } from "./scheme.ts";

/**
 * Finds matrices that other tools have quantised: each is several stored tensors, whose names and types tell how it was done;
 * `scheme` fills in what they do not. Gives the matrices under the names they had before, and the names of all their parts.
 */
export function assembleQuantized(
  files: FileSource,
  stored: ReadonlyMap<string, StoredTensor>,
  scheme: Scheme,
): { tensors: readonly CheckpointTensor[]; parts: ReadonlySet<string> } {
  const tensors: CheckpointTensor[] = [];
  const used = new Set<string>();
  const columns = new ColumnReader();
  for (const tensor of stored.values()) {
    if (SIDECARS.test(tensor.name) && scheme.kind !== "none") used.add(tensor.name);
    const found = recognise(tensor, stored);
    if (!found) continue;
    const parts = new Parts(files, stored, found.prefix);
    tensors.push(found.open(parts, scheme, columns));
    for (const name of parts.used) used.add(name);
  }
  return { tensors, parts: used };
}

/** What activations are scaled by, in runtimes that quantise them too. */
const SIDECARS = /\.((input|output|[kqv])_(global_)?scale|(input|output)_zero_point)$/;

interface Found {
  /** What the names of all its parts begin with. */
  readonly prefix: string;
  readonly open: (parts: Parts, scheme: Scheme, columns: ColumnReader) => CheckpointTensor;
}

/** By the one part that each kind of matrix has to have. */
function recognise({ name, dtype }: StoredTensor, stored: ReadonlyMap<string, StoredTensor>): Found | undefined {
  const prefix = name.slice(0, name.lastIndexOf(".") + 1);
  const last = name.slice(prefix.length);
  if (last === "qweight") return { prefix, open: openTransposed };
  if (last === "weight_packed") return { prefix, open: dtype === "U8" ? compressedFp4 : openPacked };
  if (last === "weight" && dtype === "U32" && stored.has(`${prefix}scales`)) return { prefix, open: openMlx };
  if (dtype === "U8" && stored.has(`${name}_scale_2`)) return { prefix, open: modeloptFp4 };
  const isScaled = stored.has(`${name}_scale_inv`) || stored.has(`${name}_scale`);
  if (dtype === "F8_E4M3" && isScaled) return { prefix: name, open: openFp8 };
  if (dtype === "I8" && isScaled) return { prefix: name, open: int8Tensor };
  return undefined;
}

function openTransposed(parts: Parts, scheme: Scheme, columns: ColumnReader): CheckpointTensor {
  if (scheme.kind === "gptq") return gptqTensor(parts, scheme.options, columns);
  if (scheme.kind === "awq") return awqTensor(parts, columns);
  throw undeclared(parts, "awq or gptq");
}

function openPacked(parts: Parts, scheme: Scheme): CheckpointTensor {
  if (scheme.kind !== "compressed") throw undeclared(parts, "compressed-tensors");
  return packQuantized(parts, scheme.bitsOf(moduleOf(parts)));
}

function openFp8(parts: Parts, scheme: Scheme): CheckpointTensor {
  const scale = parts.find("_scale_inv") ?? parts.get("_scale", SCALE_TYPES);
  const block = scheme.kind === "fp8" || scheme.kind === "compressed" ? scheme.block : undefined;
  return fp8Tensor(parts, parts.get("", ["F8_E4M3"]), scale, block);
}

function openMlx(parts: Parts, scheme: Scheme): CheckpointTensor {
  if (scheme.kind !== "mlx") throw undeclared(parts, "mlx");
  const { mode, bits, group }: MlxOptions = scheme.optionsOf(moduleOf(parts));
  if (mode === "affine") return mlxAffine(parts, bits, group);
  if (mode !== "mxfp8") return mlxFp4(parts, mode);
  const words = parts.get("weight", ["U32"]);
  const bytes = { ...words, dtype: "F8_E4M3", shape: [...words.shape.slice(0, -1), 4 * words.shape.at(-1)!] };
  return fp8Tensor(parts, bytes, parts.get("scales", ["U8"]));
}

const moduleOf = ({ prefix }: Parts): string => prefix.replace(/\.$/, "");

const undeclared = (parts: Parts, method: string) =>
  parts.error(`${moduleOf(parts)} is quantised, but the quantization_config of config.json is not of ${method}.`);
