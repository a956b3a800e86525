import type { RecordedDispatch } from "./recorder.ts";
import type { Shader } from "./shader.ts";

/** Compute pipelines of one device, each compiled once for a shader and its constants. */
export class PipelineCache {
  readonly #pipelines = new Map<string, Promise<GPUComputePipeline>>();
  readonly #modules = new Map<string, GPUShaderModule>();
  readonly #layouts = new Map<string, GPUBindGroupLayout>();

  constructor(readonly device: GPUDevice) {}

  get(dispatch: Pick<RecordedDispatch, "kernel" | "shader" | "constants">): Promise<GPUComputePipeline> {
    const { kernel, shader, constants } = dispatch;
    const key = `${shader.code}\0${JSON.stringify(Object.entries(constants).sort())}`;
    let pipeline = this.#pipelines.get(key);
    if (!pipeline) {
      pipeline = this.device.createComputePipelineAsync({
        label: kernel,
        layout: this.device.createPipelineLayout({ label: kernel, bindGroupLayouts: [this.layout(shader)] }),
        compute: { module: this.#module(kernel, shader), constants },
      });
      this.#pipelines.set(key, pipeline);
    }
    return pipeline;
  }

  layout(shader: Shader): GPUBindGroupLayout {
    const key = shader.bindings.map((b) => `${b.index}${b.access}`).join();
    let layout = this.#layouts.get(key);
    if (!layout) {
      layout = this.device.createBindGroupLayout({
        label: key,
        entries: shader.bindings.map((b) => ({
          binding: b.index,
          visibility: GPUShaderStage.COMPUTE,
          buffer: { type: b.access === "read" ? "read-only-storage" : "storage" },
        })),
      });
      this.#layouts.set(key, layout);
    }
    return layout;
  }

  #module(label: string, shader: Shader): GPUShaderModule {
    let module = this.#modules.get(shader.code);
    if (!module) {
      module = this.device.createShaderModule({ label, code: shader.code });
      this.#modules.set(shader.code, module);
    }
    return module;
  }
}
