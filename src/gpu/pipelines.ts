import type { RecordedDispatch } from "./recorder.ts";
import type { Shader } from "./shader.ts";

/** Compute pipelines of one device, each compiled once for a shader and its constants. */
export class PipelineCache {
  readonly #pipelines = new Map<string, Promise<GPUComputePipeline>>();
  readonly #modules = new Map<string, GPUShaderModule>();
  readonly #shapes = new Map<string, GPUBindGroup>();
  readonly #layouts = new Map<string, GPUBindGroupLayout>();

  constructor(readonly device: GPUDevice) {}

  get(dispatch: Pick<RecordedDispatch, "kernel" | "shader" | "constants">): Promise<GPUComputePipeline> {
    const { kernel, shader, constants } = dispatch;
    const compiledIn = Object.fromEntries(
      Object.entries(constants).filter(([name]) => !shader.uniforms.some((u) => u.name === name)),
    );
    const key = `${shader.code}\0${JSON.stringify(Object.entries(compiledIn).sort())}`;
    let pipeline = this.#pipelines.get(key);
    if (!pipeline) {
      pipeline = this.device.createComputePipelineAsync({
        label: kernel,
        layout: this.device.createPipelineLayout({ label: kernel, bindGroupLayouts: this.#groupLayouts(shader) }),
        compute: { module: this.#module(kernel, shader), constants: compiledIn },
      });
      this.#pipelines.set(key, pipeline);
    }
    return pipeline;
  }

  /** The uniform buffer of a dispatch's shapes, for group 1; undefined where they are compiled in. */
  shapes({ shader, constants, kernel }: Pick<RecordedDispatch, "kernel" | "shader" | "constants">) {
    if (shader.uniforms.length === 0) return undefined;
    const words = new Uint32Array(Math.ceil(shader.uniforms.length / 4) * 4);
    const floats = new Float32Array(words.buffer);
    shader.uniforms.forEach(({ name, type }, i) => {
      if (type === "f32") floats[i] = constants[name];
      else words[i] = constants[name];
    });
    const key = words.join();
    let group = this.#shapes.get(key);
    if (!group) {
      const usage = GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST;
      const buffer = this.device.createBuffer({ label: `${kernel} shapes`, size: words.byteLength, usage });
      this.device.queue.writeBuffer(buffer, 0, words);
      group = this.device.createBindGroup({
        layout: this.#shapesLayout(),
        entries: [{ binding: 0, resource: { buffer } }],
      });
      this.#shapes.set(key, group);
    }
    return group;
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

  #groupLayouts(shader: Shader): GPUBindGroupLayout[] {
    return shader.uniforms.length > 0 ? [this.layout(shader), this.#shapesLayout()] : [this.layout(shader)];
  }

  #shapesLayout(): GPUBindGroupLayout {
    let layout = this.#layouts.get("shapes");
    if (!layout) {
      layout = this.device.createBindGroupLayout({
        label: "shapes",
        entries: [{ binding: 0, visibility: GPUShaderStage.COMPUTE, buffer: { type: "uniform" } }],
      });
      this.#layouts.set("shapes", layout);
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
