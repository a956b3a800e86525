import type { ModelHost } from "../../api/model-host.ts";
import { median, typicalMs } from "../../common/typical-ms.ts";
import { GREEDY } from "../../engine/runner.ts";

const TOKENS = 9;
const REPLIES = 4;

/** Tokens a second that a model decodes for one client, as a rule. Who asks first waits for it, and on a slow server not for long. */
export async function measureHost({ engine }: ModelHost): Promise<number> {
  const decodeMs: number[] = [];
  const reply = async () => {
    let firstMs = 0;
    for await (const event of engine.generate({ prompt: [0], sampling: { ...GREEDY, maxTokens: TOKENS } })) {
      if (event.kind === "token") firstMs ||= performance.now();
    }
    decodeMs.push(performance.now() - firstMs);
  };
  await typicalMs(reply, { stretch: 1, stretches: REPLIES });
  return (1000 * (TOKENS - 1)) / median(decodeMs.slice(1));
}
