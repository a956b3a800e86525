import { LocalLLM } from "../../src/api/llm.ts";
import type { LoadOptions, MemoryPlan, PagingStats } from "../../src/api/types.ts";
import { LLM } from "../../src/index.ts";
import { browserPlatform } from "../../src/platform/browser/platform.ts";
import { BrowserStores } from "../../src/platform/browser/stores.ts";
import { ModelLibrary } from "../../src/stores/model-library.ts";
import { networkSource } from "../../src/weights/network-source.ts";

export interface Replies {
  readonly tokenIds: readonly (readonly number[])[];
  readonly paging: PagingStats | undefined;
  readonly fetchedBytes: number | undefined;
}

/** Bytes of GPU buffers that this page has made and not destroyed, and the most that there were at a time. */
const gpu = { bytes: 0, peakBytes: 0 };

/** What tests of paging call in a page. */
const tests = {
  /** Replies to a prompt, one greedy and one drawn, as any user gets them: in a worker, from a store. */
  async replies(url: string, prompt: readonly number[], maxTokens: number, options: LoadOptions): Promise<Replies> {
    let fetchedBytes: number | undefined;
    const llm = await LLM.load(url, {
      ...options,
      onProgress: ({ store }) => {
        fetchedBytes = store?.fetchedBytes;
      },
    });
    const tokenIds = [];
    for (const sampling of [{ temperature: 0 }, { temperature: 0.9, topP: 0.95, seed: 11 }]) {
      tokenIds.push((await llm.generate([...prompt], { maxTokens, ...sampling }).finish()).tokenIds);
    }
    const { paging } = await llm.stats();
    await llm.dispose();
    return { tokenIds, paging, fetchedBytes };
  },

  /** Brings all of a model into a store. */
  async keep(url: string, store: "indexeddb" | "opfs"): Promise<void> {
    const library = new ModelLibrary(
      () => new BrowserStores(store),
      (source) => networkSource(source, {}),
    );
    await library.download(url);
  },

  /** Loads a model in the page itself, where its buffers can be counted, and begins a reply to one token. */
  async start(url: string, maxTokens: number, options: LoadOptions): Promise<MemoryPlan> {
    countBuffers();
    const llm = await LocalLLM.load(browserPlatform, url, options);
    running.llm = llm;
    running.reply = llm.generate([1], { maxTokens, temperature: 0.9, seed: 3 }).finish();
    return llm.info.memory;
  },

  async finish(): Promise<{ tokens: number; paging: PagingStats | undefined }> {
    const { tokenIds } = await running.reply!;
    const { paging } = await running.llm!.stats();
    await running.llm!.dispose();
    return { tokens: tokenIds.length, paging };
  },

  /** Bytes that scripts hold, buffers outside the heap included, after what nobody holds was collected. */
  async scriptBytes(): Promise<number> {
    const { bytes } = await (
      performance as unknown as { measureUserAgentSpecificMemory(): Promise<{ bytes: number }> }
    ).measureUserAgentSpecificMemory();
    return bytes;
  },

  gpuBytes: () => gpu,
};

const running: { llm?: LocalLLM; reply?: ReturnType<ReturnType<LocalLLM["generate"]>["finish"]> } = {};

function countBuffers(): void {
  const { createBuffer } = GPUDevice.prototype;
  const { destroy } = GPUBuffer.prototype;
  GPUDevice.prototype.createBuffer = function (this: GPUDevice, descriptor) {
    gpu.bytes += descriptor.size;
    gpu.peakBytes = Math.max(gpu.peakBytes, gpu.bytes);
    return createBuffer.call(this, descriptor);
  };
  GPUBuffer.prototype.destroy = function (this: GPUBuffer) {
    gpu.bytes -= this.size;
    return destroy.call(this);
  };
}

export type PagingTests = typeof tests;
Object.assign(globalThis, { tests });
