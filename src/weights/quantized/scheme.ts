import { UnsupportedModelError } from "../../errors.ts";
import type { GptqOptions } from "./gptq.ts";

/** What config.json says of quantised matrices; which matrices these are is for the files to tell. */
export type Scheme =
  | { readonly kind: "none" | "awq" | "modelopt" }
  | { readonly kind: "gptq"; readonly options: GptqOptions }
  | { readonly kind: "fp8"; readonly block: readonly [number, number] }
  | {
      readonly kind: "compressed";
      readonly block: readonly [number, number];
      readonly bitsOf: (module: string) => number;
    }
  | { readonly kind: "mlx"; readonly optionsOf: (module: string) => MlxOptions };

export interface MlxOptions {
  readonly mode: "affine" | "mxfp4" | "nvfp4" | "mxfp8";
  readonly bits: number;
  readonly group: number;
}

type Json = Readonly<Record<string, unknown>>;

/** Reads `quantization_config`. Fails with `UnsupportedModelError`, by name, for what Sluice does not read. */
export function quantizationScheme(config: Json): Scheme {
  const text = (config.text_config ?? {}) as Json;
  const found =
    config.quantization_config ?? text.quantization_config ?? config.quantization ?? text.quantization ?? undefined;
  if (found === undefined) return { kind: "none" };
  if (typeof found !== "object" || found === null) throw unsupported(`${JSON.stringify(found)}`);
  const quantization = found as Json;
  const method = quantization.quant_method ?? (quantization.bits === undefined ? undefined : "mlx");
  const read = typeof method === "string" && Object.hasOwn(METHODS, method) ? METHODS[method] : undefined;
  if (!read) throw unsupported(method === undefined ? "a method that config.json does not name" : String(method));
  return read(quantization);
}

const METHODS: Readonly<Record<string, (json: Json) => Scheme>> = {
  sluice: () => ({ kind: "none" }),
  fp8,
  fbgemm_fp8: fp8,
  gptq,
  awq,
  "compressed-tensors": compressed,
  modelopt,
  mlx,
};

function unsupported(what: string): UnsupportedModelError {
  return new UnsupportedModelError(
    `The checkpoint is quantised with ${what}, which Sluice does not read. It reads FP8, AWQ (gemm), GPTQ, compressed-tensors, ` +
      "ModelOpt's FP8 and NVFP4, MLX and GGUF. Or open the bf16 checkpoint, and choose a quantization to have it quantised while loading.",
  );
}

function fp8({ fmt = "e4m3", weight_block_size: block }: Json): Scheme {
  if (fmt !== "e4m3") throw unsupported(`fp8 of type ${fmt}`);
  return { kind: "fp8", block: blockOf(block) };
}

const DEFAULT_BLOCK = [128, 128] as const;

function blockOf(value: unknown): readonly [number, number] {
  if (value === undefined || value === null) return DEFAULT_BLOCK;
  const [rows, columns] = value as [unknown, unknown];
  if (isPositive(rows) && isPositive(columns)) return [rows, columns];
  throw unsupported(`fp8 in blocks of ${JSON.stringify(value)}`);
}

const isPositive = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) > 0;

function gptq(json: Json): Scheme {
  const format = json.checkpoint_format ?? "gptq";
  if (format !== "gptq" && format !== "gptq_v2") throw unsupported(`GPTQ in the format ${format}`);
  if (json.is_marlin_format === true) throw unsupported("GPTQ in the format marlin");
  return {
    kind: "gptq",
    options: {
      zeroOffset: format === "gptq" ? 1 : 0,
      isSymmetric: json.sym === true,
      isPermuted: json.desc_act === true,
    },
  };
}

function awq({ version = "gemm", bits = 4 }: Json): Scheme {
  if (String(version).toLowerCase() !== "gemm") throw unsupported(`AWQ in the version ${version}`);
  if (bits !== 4) throw unsupported(`AWQ of ${bits} bits`);
  return { kind: "awq" };
}

function modelopt(json: Json): Scheme {
  const algorithm = json.quant_algo ?? (json.quantization as Json | undefined)?.quant_algo;
  if (algorithm !== undefined && algorithm !== "NVFP4" && algorithm !== "FP8")
    throw unsupported(`ModelOpt's ${algorithm}`);
  return { kind: "modelopt" };
}

const COMPRESSED_FORMATS = [
  ...["dense", "pack-quantized", "int-quantized", "naive-quantized", "float-quantized"],
  ...["nvfp4-pack-quantized", "mxfp4-pack-quantized", "mxfp8-quantized", "mixed-precision"],
];

interface CompressedGroup {
  readonly targets: readonly string[];
  readonly bits: number;
  readonly block: unknown;
}

function compressed(json: Json): Scheme {
  const groups = Object.values((json.config_groups ?? {}) as Record<string, Json>).map((group): CompressedGroup => {
    checkFormat(group.format);
    const weights = (group.weights ?? {}) as Json;
    const { num_bits: bits, block_structure: block } = weights;
    if (!isPositive(bits) || bits > 8) throw unsupported(`compressed-tensors of ${JSON.stringify(bits)} bits`);
    return { targets: (group.targets ?? []) as string[], bits, block };
  });
  checkFormat(json.format);
  checkFormat((json.sparsity_config as Json | undefined)?.format);
  const transforms = (json.transform_config as Json | undefined)?.config_groups ?? {};
  if (Object.keys(transforms as Json).length > 0) {
    throw unsupported("compressed-tensors and rotations of the activations (transform_config)");
  }
  return {
    kind: "compressed",
    block: blockOf(groups.find(({ block }) => block)?.block),
    bitsOf: (module) =>
      (groups.find((group) => names(group, module)) ?? groups.find(isGeneral) ?? groups[0])?.bits ?? 4,
  };
}

function checkFormat(format: unknown): void {
  if (format === undefined || format === null || COMPRESSED_FORMATS.includes(String(format))) return;
  throw unsupported(`compressed-tensors in the format ${format}`);
}

/** Targets are names of modules, their ends, or regular expressions after `re:`. Classes of modules are general. */
const names = ({ targets }: CompressedGroup, module: string): boolean =>
  targets.some((target) =>
    target.startsWith("re:") ? matches(target.slice(3), module) : module === target || module.endsWith(`.${target}`),
  );

const isGeneral = ({ targets }: CompressedGroup): boolean => targets.includes("Linear");

function matches(pattern: string, module: string): boolean {
  try {
    return module.search(new RegExp(pattern)) === 0;
  } catch {
    throw unsupported(`compressed-tensors, for modules named by ${JSON.stringify(pattern)}`);
  }
}

const MLX_MODES: Readonly<Record<MlxOptions["mode"], { bits: readonly number[]; group: number }>> = {
  affine: { bits: [2, 3, 4, 5, 6, 8], group: 64 },
  mxfp4: { bits: [4], group: 32 },
  nvfp4: { bits: [4], group: 16 },
  mxfp8: { bits: [8], group: 32 },
};

/** Modules may have options of their own, by their path. */
function mlx(json: Json): Scheme {
  const general = mlxOptions(json);
  const own = new Map<string, MlxOptions>();
  for (const [module, options] of Object.entries(json)) {
    if (typeof options === "object" && options !== null) own.set(module, mlxOptions({ mode: json.mode, ...options }));
  }
  return { kind: "mlx", optionsOf: (module) => own.get(module) ?? general };
}

function mlxOptions({ mode = "affine", bits, group_size: group }: Json): MlxOptions {
  const known = Object.hasOwn(MLX_MODES, String(mode)) ? MLX_MODES[mode as MlxOptions["mode"]] : undefined;
  if (!known) throw unsupported(`MLX in the mode ${mode}`);
  const options = {
    mode: mode as MlxOptions["mode"],
    bits: Number(bits ?? known.bits[0]),
    group: Number(group ?? known.group),
  };
  const groupFits = mode === "affine" ? isPositive(options.group) : options.group === known.group;
  if (known.bits.includes(options.bits) && groupFits) return options;
  throw unsupported(`MLX's ${mode} of ${bits} bits in groups of ${group}`);
}
