import { useEffect, useState } from "preact/hooks";
import { LLM, type ModelPlan } from "sluice";
import { lastUsage } from "./conversation.ts";
import { library, readSpeed, storedModel, useLibrary } from "./library.ts";
import { loadOptions } from "./model.ts";
import { currentConversation, type ModelChoice, page, usePage } from "./page.ts";
import { type Problem, problemOf } from "./problems.ts";

export interface Planned {
  /** The last that was made: of settings before the present ones while `isPlanning`. */
  readonly plan?: ModelPlan;
  readonly problem?: Problem;
  readonly isPlanning: boolean;
}

/** A slider passes many values on its way. */
const DELAY_MS = 150;

/** What a model would take if it were loaded as the settings are now; asked for anew when they change. */
export function usePlan(choice: ModelChoice, expertShare: number | undefined): Planned {
  const [planned, setPlanned] = useState<Planned>({ isPlanning: true });
  const { maxContext, quantization, dtype } = usePage(({ settings }) => settings.load);
  const token = usePage(({ hubToken }) => hubToken);
  const speed = useLibrary(readSpeed);

  useEffect(() => {
    const abort = new AbortController();
    const { signal } = abort;
    const make = async () => {
      const { settings } = page.state;
      const options = loadOptions(choice, settings);
      const memory = expertShare === undefined ? undefined : `${100 * expertShare}%`;
      const speeds = { bytesPerSecond: speed, tokensPerSecond: speedOf(choice) };
      const plan = await LLM.plan(choice.source, { ...options, memory, speeds, store: storeOf(choice), signal });
      if (!signal.aborted) setPlanned({ plan, isPlanning: false });
    };
    setPlanned(({ plan }) => ({ plan, isPlanning: true }));
    const timer = setTimeout(() => {
      make().catch((error) => signal.aborted || setPlanned({ problem: problemOf(error), isPlanning: false }));
    }, DELAY_MS);
    return () => {
      clearTimeout(timer);
      abort.abort();
    };
  }, [choice, expertShare, maxContext, quantization, dtype, token, speed]);

  return planned;
}

/** A plan of a model that is not here should leave nothing of it here; one that is here can be planned without a network. */
function storeOf({ source }: ModelChoice): "auto" | "none" {
  return typeof source === "string" && storedModel(library.state, source)?.isComplete ? "auto" : "none";
}

/** As the model ran last with all of its experts on the device. */
const residentSpeeds = new Map<ModelChoice["source"], number>();

function speedOf({ source }: ModelChoice): number | undefined {
  const { model } = page.state;
  if (model.kind === "ready" && model.expertShare === undefined) {
    const usage = lastUsage(currentConversation(page.state));
    if (usage && usage.decodeTokensPerSecond > 0) residentSpeeds.set(model.choice.source, usage.decodeTokensPerSecond);
  }
  return residentSpeeds.get(source);
}
