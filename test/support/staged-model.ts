import { Device } from "../../src/gpu/device.ts";
import { bindWeights } from "../../src/models/qwen3-next/bind-weights.ts";
import { parseConfig } from "../../src/models/qwen3-next/config.ts";
import type { RunnerOptions } from "../../src/runner/memory-plan.ts";
import { ModelRunner } from "../../src/runner/model-runner.ts";
import { DrawGate, drawsOf } from "../../src/stages/draw-gate.ts";
import type { StageMessage, StageResult } from "../../src/stages/messages.ts";
import { Stage } from "../../src/stages/stage.ts";
import { stageConfig, stageWeights } from "../../src/stages/stage-weights.ts";
import { StagedRunner } from "../../src/stages/staged-runner.ts";
import type { Checkpoint } from "../../src/weights/checkpoint.ts";
import { openTestGpu } from "./gpu.ts";

export interface StagedModel {
  readonly runner: StagedRunner;
  /** Messages in their order: link i leads to stage i, the last one out. */
  readonly sent: readonly { readonly link: number; readonly message: StageMessage }[];
  dispose(): void;
}

/** A checkpoint in stages that begin at `cuts`, all in this process, each on a device of its own; messages are cloned. */
export async function openStagedModel(
  checkpoint: Checkpoint,
  cuts: readonly number[],
  options: Omit<RunnerOptions, "config" | "usableVocabulary" | "quantization" | "kvFormat">,
): Promise<StagedModel> {
  const config = parseConfig(checkpoint.config);
  const sources = bindWeights(config, checkpoint);
  const ranges = [0, ...cuts].map((from, i) => ({ from, to: cuts[i] ?? config.layers.length }));
  const runners: ModelRunner[] = [];
  for (const range of ranges) {
    const device = await Device.open({ ...(await openTestGpu()), withoutF16: true });
    runners.push(
      await ModelRunner.load(
        stageWeights(sources, range, Math.max(options.maxBatchTokens, options.maxSequences ?? 1)),
        {
          ...options,
          device,
          config: stageConfig(config, range),
          quantization: "auto",
          kvFormat: "f32",
          usableVocabulary: config.vocabularySize,
          isInner: range.to < config.layers.length,
        },
      ),
    );
  }
  const sent: { link: number; message: StageMessage }[] = [];
  const receivers: ((message: StageMessage) => void)[] = [];
  const sendTo = (link: number) => (message: StageMessage) => {
    sent.push({ link, message });
    const copy = structuredClone(message);
    queueMicrotask(() => receivers[link](copy));
  };
  const stages: Stage[] = [];
  const gate = new DrawGate((message) => stages[0].receive(message));
  for (const [i, runner] of runners.entries()) {
    const stage = new Stage(runner, i === runners.length - 1, sendTo(i + 1));
    stages.push(stage);
    receivers.push((message) => (i === 0 ? gate : stage).receive(message));
  }
  const { limits, memory } = runners[0];
  const runner = new StagedRunner({ stages: runners.length, limits, memory, send: sendTo(0), close: () => {} });
  receivers.push((message) => {
    const draws = drawsOf(message);
    if (draws) gate.know(draws);
    runner.receive(message as StageResult);
  });
  const dispose = () => {
    for (const stage of runners) stage.dispose();
  };
  return { runner, sent, dispose };
}
