import { useId } from "preact/hooks";
import type { ModelInfo } from "sluice";
import type { Sampling } from "./conversation.ts";
import { changeConversation } from "./conversations.ts";
import { Icon } from "./icons.tsx";
import { changeSettings, currentConversation, page, usePage } from "./page.ts";
import { pageTools, toolName } from "./tools.ts";

interface Field {
  readonly name: keyof Sampling;
  readonly label: string;
  readonly hint: string;
  readonly min: number;
  readonly max: number;
  readonly step: number;
  /** What the model's own default is called when it is not a number. */
  readonly otherwise?: string;
}

const fields: readonly Field[] = [
  { name: "temperature", label: "Temperature", hint: "0 always takes the likeliest token", min: 0, max: 2, step: 0.05 },
  { name: "topP", label: "Top-p", hint: "Keep the likeliest tokens up to this sum", min: 0.05, max: 1, step: 0.05 },
  { name: "topK", label: "Top-k", hint: "Keep this many tokens; 0 is off", min: 0, max: 200, step: 1 },
  { name: "minP", label: "Min-p", hint: "Drop tokens below this share of the likeliest", min: 0, max: 1, step: 0.01 },
  {
    name: "presencePenalty",
    label: "Presence penalty",
    hint: "Against tokens already in the reply",
    min: -2,
    max: 2,
    step: 0.1,
  },
  { name: "frequencyPenalty", label: "Frequency penalty", hint: "The same, for each time", min: -2, max: 2, step: 0.1 },
  { name: "repetitionPenalty", label: "Repetition penalty", hint: "Divides; 1 is off", min: 0.1, max: 2, step: 0.05 },
  {
    name: "maxTokens",
    label: "Longest reply",
    hint: "In tokens",
    min: 1,
    max: 1_000_000,
    step: 1,
    otherwise: "auto",
  },
  {
    name: "seed",
    label: "Seed",
    hint: "The same seed gives the same reply",
    min: 0,
    max: 4_294_967_295,
    step: 1,
    otherwise: "random",
  },
];

export function Settings() {
  const sampling = usePage(({ settings }) => settings.sampling);
  const info = usePage(({ model }) => (model.kind === "ready" ? model.llm.info : undefined));
  const isChanged = Object.keys(sampling).length > 0;
  return (
    <div class="panel">
      <SystemPrompt />
      <Tools />
      <Thinking />
      <section>
        <div class="section-head">
          <h3>Sampling</h3>
          <button
            type="button"
            class="text-button"
            disabled={!isChanged}
            onClick={() => changeSettings({ sampling: {} })}
          >
            Reset all
          </button>
        </div>
        {fields.map((field) => (
          <NumberField key={field.name} field={field} value={sampling[field.name]} info={info} />
        ))}
      </section>
      <Appearance />
      <p class="hint imprint">
        Sluice is free software, under the Apache License 2.0;{" "}
        <a href="./third-party-licenses.txt" target="_blank" rel="noreferrer">
          what it holds of others
        </a>{" "}
        is under their own.
      </p>
    </div>
  );
}

function Tools() {
  const chosen = usePage(({ settings }) => settings.tools);
  return (
    <section>
      <h3>Tools</h3>
      <div class="choices">
        {pageTools.map((tool) => {
          const name = toolName(tool);
          const others = chosen.filter((other) => other !== name);
          return (
            <label key={name}>
              <input
                type="checkbox"
                checked={chosen.includes(name)}
                onChange={({ currentTarget }) =>
                  changeSettings({ tools: currentTarget.checked ? [...others, name] : others })
                }
              />
              {tool.label} <span class="hint">{tool.hint}</span>
            </label>
          );
        })}
      </div>
      <p class="hint">They run in this page when the model calls them.</p>
    </section>
  );
}

function Thinking() {
  const thinking = usePage(({ settings }) => settings.thinking);
  return (
    <section>
      <h3>Thinking</h3>
      <div class="choices" role="radiogroup" aria-label="Thinking">
        {(["auto", "never"] as const).map((name) => (
          <label key={name}>
            <input
              type="radio"
              name="thinking"
              checked={thinking === name}
              onChange={() => changeSettings({ thinking: name })}
            />
            {{ auto: "As the model does", never: "Never" }[name]}
          </label>
        ))}
      </div>
    </section>
  );
}

function Appearance() {
  const theme = usePage(({ settings }) => settings.theme);
  return (
    <section>
      <h3>Colours</h3>
      <div class="choices" role="radiogroup" aria-label="Colours">
        {(["system", "light", "dark"] as const).map((name) => (
          <label key={name}>
            <input
              type="radio"
              name="theme"
              checked={theme === name}
              onChange={() => changeSettings({ theme: name })}
            />
            {{ system: "As the system", light: "Light", dark: "Dark" }[name]}
          </label>
        ))}
      </div>
    </section>
  );
}

function SystemPrompt() {
  const conversation = usePage(currentConversation);
  const prompt = usePage((state) => currentConversation(state)?.systemPrompt ?? state.settings.systemPrompt);
  const id = useId();
  const change = (systemPrompt: string) => {
    if (conversation) changeConversation(conversation.id, (c) => ({ ...c, systemPrompt }));
    else changeSettings({ systemPrompt });
  };
  return (
    <section>
      <h3>
        <label for={id}>System prompt</label>
      </h3>
      <textarea
        id={id}
        rows={3}
        value={prompt}
        placeholder="You are a helpful assistant."
        onInput={({ currentTarget }) => change(currentTarget.value)}
      />
      <p class="hint">{conversation ? "Of this conversation." : "Of new chats."}</p>
    </section>
  );
}

function NumberField({ field, value, info }: { field: Field; value: number | undefined; info: ModelInfo | undefined }) {
  const id = useId();
  const byModel = info?.sampling[field.name as keyof ModelInfo["sampling"]];
  const standard = field.otherwise ?? (byModel === undefined ? "" : String(byModel));
  const change = (next: number | undefined) => {
    const { [field.name]: _, ...others } = page.state.settings.sampling;
    changeSettings({ sampling: next === undefined ? others : { ...others, [field.name]: next } });
  };
  return (
    <div class="number-field" data-changed={value !== undefined || undefined}>
      <label for={id}>{field.label}</label>
      <span class="hint" id={`${id}-hint`}>
        {field.hint}
      </span>
      <input
        id={id}
        type="number"
        inputMode="decimal"
        min={field.min}
        max={field.max}
        step={field.step}
        value={value ?? ""}
        placeholder={standard}
        aria-describedby={`${id}-hint`}
        onInput={({ currentTarget: { value, valueAsNumber, validity } }) => {
          if (value === "" && !validity.badInput) change(undefined);
          else if (valueAsNumber >= field.min && valueAsNumber <= field.max) change(valueAsNumber);
        }}
      />
      <button
        type="button"
        class="icon-button"
        disabled={value === undefined}
        aria-label={`Reset ${field.label}`}
        title="Back to the model's default"
        onClick={() => change(undefined)}
      >
        <Icon name="again" />
      </button>
    </div>
  );
}
