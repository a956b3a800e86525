import type { Quantization } from "sluice";
import { CompanionForm } from "./companion-form.tsx";
import { Icon } from "./icons.tsx";
import { reloadModel } from "./model.ts";
import { OpenAnother } from "./open-another.tsx";
import { changeSettings, type Model, type ModelChoice, type Settings, usePage } from "./page.ts";
import { PlanView } from "./plan-view.tsx";
import { Proposal } from "./proposal.tsx";
import { Storage } from "./storage.tsx";
import { StoredModels } from "./stored-models.tsx";

/** Which model runs, which could, and how. */
export function ModelPicker() {
  const proposed = usePage(({ proposed }) => proposed);
  return (
    <div class="picker">
      {proposed ? (
        <Proposal key={proposed.label} choice={proposed} />
      ) : (
        <>
          <StoredModels />
          <OpenAnother />
        </>
      )}
      <Options />
      <CompanionForm />
      <Storage />
    </div>
  );
}

/** How a model is loaded; what is smaller here takes less of the GPU's memory. */
function Options() {
  const load = usePage(({ settings }) => settings.load);
  const model = usePage(({ model }) => model);
  const isProposing = usePage(({ proposed }) => proposed !== undefined);
  const change = (changes: Settings["load"]) => changeSettings({ load: { ...load, ...changes } });
  return (
    <section>
      <h3>
        <Icon name="sliders" /> How it is loaded
      </h3>
      <div class="options">
        <label>
          <span>Context</span>
          <select
            value={load.maxContext ?? ""}
            onChange={({ currentTarget: { value } }) => change({ maxContext: value ? Number(value) : undefined })}
          >
            <option value="">As the model, at most 4,096</option>
            <option value="1024">1,024 tokens</option>
            <option value="2048">2,048 tokens</option>
            <option value="8192">8,192 tokens</option>
            <option value="16384">16,384 tokens</option>
            <option value="32768">32,768 tokens</option>
          </select>
        </label>
        <label>
          <span>Weights</span>
          <select
            value={load.quantization ?? "auto"}
            onChange={({ currentTarget: { value } }) => change({ quantization: value as Quantization })}
          >
            <option value="auto">As stored</option>
            <option value="q4">4 bits: smallest, a little less exact</option>
            <option value="q8">8 bits</option>
            <option value="f16">16 bits</option>
            <option value="f32">32 bits</option>
          </select>
        </label>
        <label>
          <span>Arithmetic</span>
          <select
            value={load.dtype ?? ""}
            onChange={({ currentTarget: { value } }) =>
              change({ dtype: (value || undefined) as Settings["load"]["dtype"] })
            }
          >
            <option value="">What suits the device</option>
            <option value="f16">f16: faster, half the cache</option>
            <option value="f32">f32: exact</option>
          </select>
        </label>
      </div>
      {model.choice && model.kind !== "unsupported" && !isProposing && <Again model={model} choice={model.choice} />}
    </section>
  );
}

/** The model at hand, loaded again as the options say; and what that would take. */
function Again({ model, choice }: { model: Model; choice: ModelChoice }) {
  const isOther = (share: number | undefined) => model.kind === "ready" && model.expertShare !== share;
  return (
    <PlanView choice={choice}>
      {(_, share) => (
        <button type="button" class={isOther(share) ? "button primary" : "button"} onClick={reloadModel}>
          Load {choice.label} again
        </button>
      )}
    </PlanView>
  );
}
