import { adapterName, isSoftware } from "./profile.ts";

/** What a person or a test wants to know about an adapter; the names and values are WebGPU's. */
export interface AdapterDescription {
  readonly name: string;
  /** Runs on the CPU. */
  readonly isSoftware: boolean;
  readonly features: readonly string[];
  /** Smallest and largest number of lanes in a subgroup; absent without the feature. */
  readonly subgroupSize?: readonly [min: number, max: number];
  /** Bytes, but for the counts of buffers and invocations. */
  readonly limits: Readonly<Record<(typeof LIMITS)[number], number>>;
}

const LIMITS = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxStorageBuffersPerShaderStage",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
] as const;

export function describeAdapter(adapter: GPUAdapter): AdapterDescription {
  const { info, limits } = adapter;
  const features = [...adapter.features].sort();
  return {
    name: adapterName(info),
    isSoftware: isSoftware(info),
    features,
    subgroupSize: features.includes("subgroups") ? [info.subgroupMinSize, info.subgroupMaxSize] : undefined,
    limits: Object.fromEntries(LIMITS.map((name) => [name, limits[name]])) as AdapterDescription["limits"],
  };
}
