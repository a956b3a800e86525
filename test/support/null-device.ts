import { create, globals } from "webgpu";
import { BASELINE, type DeviceProfile, MATRICES } from "../../src/gpu/profile.ts";
import { Recorder } from "../../src/gpu/recorder.ts";
import { batchConstants } from "../../src/runner/batch-buffer.ts";

/** A large GPU's profile, whose subgroups multiply matrices: what no software adapter has. */
const LARGE_GPU: DeviceProfile = {
  ...BASELINE,
  f16: true,
  roundActivations: true,
  subgroups: true,
  matrix: { m: 16, n: 16, k: 16 },
  subgroupMinSize: 32,
  subgroupMaxSize: 32,
  maxWorkgroupBytes: 49_152,
  maxBindingBytes: 2 ** 31,
  maxBufferBytes: 2 ** 31,
};

/** Records what a large GPU would run. */
export const largeGpuRecorder = (limits: { maxTokens: number; maxSequences: number }): Recorder =>
  new Recorder(LARGE_GPU, batchConstants({ ...limits, maxBlocks: 1, blockTokens: 64 }));

/** What a compiler that computes nothing has to say of the shaders that were recorded: errors and warnings. */
export async function compilerMessages({ dispatches }: Recorder): Promise<string[]> {
  Object.assign(globalThis, globals);
  const gpu = create(["backend=null", "enable-dawn-features=allow_unsafe_apis"]);
  const adapter = await gpu.requestAdapter();
  const device = await adapter!.requestDevice({ requiredFeatures: ["shader-f16", "subgroups", MATRICES] });
  // The messages say the same.
  device.addEventListener("uncapturederror", (event) => event.preventDefault());
  const infos = dispatches.map(async ({ kernel, shader }) => {
    const { messages } = await device.createShaderModule({ code: shader.code }).getCompilationInfo();
    return messages.map(({ type, lineNum, message }) => `${kernel}: ${type} in line ${lineNum}: ${message}`);
  });
  const messages = (await Promise.all(infos)).flat();
  device.destroy();
  return messages;
}
