/** What shaders may use on a device. A kernel's variants are chosen by these facts and by shapes, never by a vendor's name. */
export interface DeviceProfile {
  /** `shader-f16` is enabled. */
  readonly f16: boolean;
  /** Kernels may round activations, to f16 or to integers, where that is faster. Otherwise only the KV cache may be in f16. */
  readonly roundActivations: boolean;
  /** `subgroups` is enabled. */
  readonly subgroups: boolean;
  /**
   * The product of matrices that a subgroup can do as one: f16 · f16 → f32. Undefined where there is none, or where
   * activations must not be rounded to f16.
   */
  readonly matrix?: MatrixShape;
  /** WGSL has `dot4I8Packed`. */
  readonly packedDot: boolean;
  /**
   * Shapes are compiled into the shaders, which then run fastest. Off for software adapters: they take seconds to compile
   * a shader, so all shapes share one, and read their sizes from a uniform buffer.
   */
  readonly specialize: boolean;
  /**
   * A workgroup's subgroups take turns on one CPU thread: a barrier costs as much as hundreds of operations, and memory of
   * workgroups is cleared once for every subgroup.
   */
  readonly serialWorkgroups: boolean;
  readonly subgroupMinSize: number;
  readonly subgroupMaxSize: number;
  /** Bytes of one storage binding. */
  readonly maxBindingBytes: number;
  readonly maxBufferBytes: number;
  /** Storage buffers that a shader may bind. */
  readonly maxBuffers: number;
  /** One token is decoded by kernels that take many ops at once. Off for software adapters, which wait little for a dispatch. */
  readonly fuseDecode: boolean;
  /** Workgroups in one dimension of a grid. */
  readonly maxGrid: number;
  readonly maxWorkgroupBytes: number;
  readonly maxInvocations: number;
}

/** A subgroup's product of [m, k] and [k, n]. */
export interface MatrixShape {
  readonly m: number;
  readonly n: number;
  readonly k: number;
}

/** Browsers keep the first two to themselves. */
export const adapterName = ({ description, device, vendor, architecture }: GPUAdapterInfo): string =>
  description || device || `${vendor} ${architecture}`.trim() || "an unnamed adapter";

/** Whether an adapter computes on the CPU. */
export const isSoftware = (info: GPUAdapterInfo): boolean =>
  info.isFallbackAdapter ||
  /swiftshader|llvmpipe|software|basic render/i.test(
    [info.vendor, info.architecture, info.device, info.description].join(" "),
  );

/** What every WebGPU device offers: tier 0. */
export const BASELINE: DeviceProfile = {
  f16: false,
  roundActivations: false,
  subgroups: false,
  packedDot: false,
  specialize: true,
  serialWorkgroups: false,
  subgroupMinSize: 1,
  subgroupMaxSize: 128,
  maxBindingBytes: 128 * 2 ** 20,
  maxBufferBytes: 256 * 2 ** 20,
  maxBuffers: 8,
  fuseDecode: false,
  maxGrid: 65_535,
  maxWorkgroupBytes: 16_384,
  maxInvocations: 256,
};

/** Threads of a workgroup that is a single subgroup, where such workgroups run best: they need neither barriers nor memory. */
export const soloSubgroup = (profile: DeviceProfile): number | undefined => {
  const { serialWorkgroups, subgroups, subgroupMinSize, subgroupMaxSize } = profile;
  return serialWorkgroups && subgroups && subgroupMinSize === subgroupMaxSize ? subgroupMinSize : undefined;
};

/** The profile of a device, with features switched off where `without` says so (to test or compare tiers). */
export function profileOf(
  device: GPUDevice,
  /** The adapter's, because Dawn's devices do not tell which matrices they multiply. */
  info: GPUAdapterInfo,
  languageFeatures: ReadonlySet<string>,
  without: Partial<
    Record<
      | "f16"
      | "roundActivations"
      | "subgroups"
      | "matrix"
      | "packedDot"
      | "specialize"
      | "fuseDecode"
      | "serialWorkgroups",
      boolean
    >
  > = {},
): DeviceProfile {
  return {
    f16: device.features.has("shader-f16") && !without.f16,
    roundActivations: !without.roundActivations,
    subgroups: device.features.has("subgroups") && !without.subgroups,
    matrix:
      without.f16 || without.roundActivations || without.subgroups || without.matrix
        ? undefined
        : matrixOf(device, info),
    packedDot: languageFeatures.has("packed_4x8_integer_dot_product") && !without.packedDot,
    specialize: !isSoftware(info) && !without.specialize,
    serialWorkgroups: isSoftware(info) && !without.serialWorkgroups,
    subgroupMinSize: info?.subgroupMinSize || 4,
    subgroupMaxSize: info?.subgroupMaxSize || 128,
    maxBindingBytes: device.limits.maxStorageBufferBindingSize,
    maxBufferBytes: device.limits.maxBufferSize,
    maxBuffers: device.limits.maxStorageBuffersPerShaderStage,
    fuseDecode: !isSoftware(info) && !without.fuseDecode,
    maxGrid: device.limits.maxComputeWorkgroupsPerDimension,
    maxWorkgroupBytes: device.limits.maxComputeWorkgroupStorageSize,
    maxInvocations: device.limits.maxComputeInvocationsPerWorkgroup,
  };
}

/** WebGPU's types do not know of these yet; Dawn calls them experimental. */
interface MatrixConfig {
  readonly componentType: string;
  readonly resultComponentType: string;
  readonly M: number;
  readonly N: number;
  readonly K: number;
}

export const MATRICES = "chromium-experimental-subgroup-matrix" as GPUFeatureName;

/**
 * The largest product that the device offers. Subgroups must have one size, because matrices lie spread over their lanes, and
 * our kernels want eight values of either factor in each.
 */
function matrixOf({ features }: GPUDevice, info: GPUAdapterInfo): MatrixShape | undefined {
  const { subgroupMinSize, subgroupMaxSize } = info;
  if (!features.has(MATRICES) || !features.has("shader-f16") || subgroupMinSize !== subgroupMaxSize) return undefined;
  const configs = (info as { subgroupMatrixConfigs?: Iterable<MatrixConfig> }).subgroupMatrixConfigs ?? [];
  return Array.from(configs)
    .filter((c) => c.componentType === "f16" && c.resultComponentType === "f32")
    .map(({ M, N, K }) => ({ m: M, n: N, k: K }))
    .filter(({ m, n, k }) => m * k === 8 * subgroupMinSize && n * k === 8 * subgroupMinSize)
    .sort((a, b) => b.m * b.n * b.k - a.m * a.n * a.k)[0];
}
