import { measureAnswers } from "../companion/measure-answers.ts";
import { measureLink } from "../companion/measure-link.ts";
import { CompanionError, OutOfMemoryError } from "../errors.ts";
import { chooseWay, type Doubts, reasonFor, type Speeds, type Way } from "./choose-way.ts";
import { companionOptions } from "./companion-options.ts";
import { type Lean, leanOn, measuredInfo, openLink } from "./lean.ts";
import { predict } from "./predict.ts";
import type { Loading, StartedModel } from "./start-model.ts";
import { trySpeed } from "./try-speed.ts";

/**
 * Loads a model in the way that writes most tokens a second: the one that promises most is tried with a short reply, and others
 * then as long as they promise more than what was found. `start` is given, as importing it here would cut a page's first chunk
 * in two. @throws CompanionError
 */
export async function loadBest(
  loading: Loading,
  start: (loading: Loading, lean?: Lean) => Promise<StartedModel>,
): Promise<StartedModel> {
  const { platform, options, opened, runnerOptions, fingerprint } = loading;
  const companion = companionOptions(options.companion!);
  const link = await openLink(platform, companion, fingerprint);
  const { speed, measured, foretold } = await (async () => {
    const speed = { ...(await measureLink(link)), ...(await measureAnswers(link)) };
    const reached = { welcome: link.welcome, speed, isPrivate: companion.private ?? false };
    const foretold = await predict(platform, opened.sources, runnerOptions, options, reached);
    return { speed, measured: measuredInfo(link, speed), foretold };
  })().finally(() => link.close());

  const { predicted, choice, doubts } = foretold;
  // Nothing has room. What loading says of that is said best there.
  if (Object.keys(predicted).length === 0) return start(loading);
  const load = async (way: Way) => {
    if (way === "none") return start(loading);
    return start(loading, { ...(await leanOn(platform, companion, fingerprint, way, speed)), choice });
  };
  const trial = ({ engine }: StartedModel) => trySpeed(engine, options.signal);
  const { way, model, tried } = await takeBest(predicted, doubts, load, trial);
  const reason = reasonFor(predicted, tried);
  const { layers } = model.info.companion ?? {};
  const info = { url: companion.url, mode: way, reason, ...measured, layers, predicted, tried };
  return { ...model, info: { ...model.info, companion: info } };
}

/** Loads and tries ways until one that was tried is the best of what is known. Of a way that cannot be had nothing is expected. */
export async function takeBest<M extends { readonly engine: { dispose(): void } }>(
  predicted: Speeds,
  doubts: Doubts,
  load: (way: Way) => Promise<M>,
  trial: (model: M) => Promise<number>,
): Promise<{ readonly way: Way; readonly model: M; readonly tried: Speeds }> {
  const tried: { -readonly [way in keyof Speeds]: number } = {};
  let loaded: { readonly way: Way; readonly model: M } | undefined;
  for (;;) {
    const way = chooseWay(predicted, tried, doubts);
    try {
      if (loaded?.way !== way) {
        // There may be room for one only.
        loaded?.model.engine.dispose();
        loaded = undefined;
        loaded = { way, model: await load(way) };
      }
      if (tried[way] !== undefined || Object.keys(predicted).length === 1) return { ...loaded, tried };
      tried[way] = await trial(loaded.model);
    } catch (error) {
      loaded?.model.engine.dispose();
      loaded = undefined;
      const isPassing = error instanceof OutOfMemoryError || error instanceof CompanionError;
      if (!isPassing || tried[way] !== undefined) throw error;
      tried[way] = 0;
    }
  }
}
