import type { CompanionOptions, GenerateParams } from "../../src/index.ts";
import { LLM } from "../../src/index.ts";

export interface CompanionTests {
  /** Ids of a reply by a model that leans on a companion, and how it ended. */
  reply(
    companion: CompanionOptions,
    prompt: readonly number[],
    params: GenerateParams,
  ): Promise<{ readonly ids: readonly number[]; readonly sums: number; readonly passes: number }>;
  /** The name and reason of the error that loading ends with. */
  refusal(companion: { readonly url: string; readonly key: string }): Promise<string>;
}

const tests: CompanionTests = {
  async reply(companion, prompt, params) {
    const options = {
      companion,
      maxContext: 128,
      maxBatchTokens: 64,
      device: { dtype: "f32" },
      store: "none",
    } as const;
    const llm = await LLM.load("/demo/public/models/sprout/", options);
    const { tokenIds } = await llm.generate(prompt, params).finish();
    const { companion: stats } = await llm.stats();
    await llm.dispose();
    return { ids: tokenIds, sums: stats?.sums.count ?? 0, passes: stats?.passes?.count ?? 0 };
  },

  async refusal(companion) {
    const error = await LLM.load("/demo/public/models/sprout/", { companion, store: "none" }).catch((error) => error);
    return `${error.name} ${error.reason}`;
  },
};

Object.assign(globalThis, { tests });
