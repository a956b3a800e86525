import { useRef, useState } from "preact/hooks";
import type { Quantization } from "sluice";
import { folderOfInput } from "./folder.ts";
import { Icon } from "./icons.tsx";
import { loadModel, reloadModel, sprout } from "./model.ts";
import { changeSettings, type Settings, usePage } from "./page.ts";

export function ModelPicker() {
  const model = usePage(({ model }) => model);
  const isSprout = model.choice?.source === sprout.source;
  return (
    <div class="picker">
      <section>
        <h3>
          <Icon name="sprout" /> Sprout
        </h3>
        <p>Comes with this page: 31 million parameters, simple English.</p>
        <button
          type="button"
          class="button"
          disabled={isSprout && model.kind === "ready"}
          onClick={() => loadModel(sprout)}
        >
          {isSprout && model.kind === "ready" ? "Loaded" : "Load Sprout"}
        </button>
      </section>
      <FromFolder />
      <FromUrl />
      <Options />
    </div>
  );
}

function FromFolder() {
  const input = useRef<HTMLInputElement>(null);
  return (
    <section>
      <h3>
        <Icon name="folder" /> A folder on this device
      </h3>
      <p>
        A Qwen3-Next checkpoint: <code>config.json</code>, <code>tokenizer.json</code> and <code>.safetensors</code>{" "}
        files. You can also drop the folder anywhere on the page. It is read where it lies, not copied or sent.
      </p>
      <input
        ref={input}
        type="file"
        hidden
        multiple
        {
          ...{ webkitdirectory: true } /* not in the types yet */
        }
        aria-label="Model folder"
        onChange={({ currentTarget }) => {
          const { name, files } = folderOfInput(currentTarget);
          if (files.length > 0) void loadModel({ label: name, source: files });
        }}
      />
      <button type="button" class="button" onClick={() => input.current?.click()}>
        Open a folder…
      </button>
    </section>
  );
}

function FromUrl() {
  const [problem, setProblem] = useState("");
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const text = String(new FormData(event.currentTarget as HTMLFormElement).get("url")).trim();
    const url = URL.canParse(text, document.baseURI) ? new URL(text, document.baseURI) : undefined;
    const isAllowed = url && (url.protocol === "https:" || url.origin === location.origin);
    if (!isAllowed) return setProblem("This needs to be an https:// address of a folder with the model's files.");
    if (!url.pathname.endsWith("/")) url.pathname += "/";
    const label = decodeURIComponent(
      url.pathname
        .split("/")
        .filter((part) => !/^(resolve|main|)$/.test(part))
        .at(-1) ?? url.host,
    );
    void loadModel({ label, source: url });
  };
  return (
    <section>
      <h3>
        <Icon name="link" /> A web address
      </h3>
      <p>Where the same files lie on a server that lets other pages read them (CORS).</p>
      <form class="row" onSubmit={submit} noValidate>
        <input
          name="url"
          type="url"
          inputMode="url"
          placeholder="https://…/resolve/main/"
          aria-label="Model's address"
          aria-describedby={problem ? "url-problem" : undefined}
          aria-invalid={problem !== "" || undefined}
          autocomplete="url"
        />
        <button type="submit" class="button">
          Load
        </button>
      </form>
      {problem && (
        <p id="url-problem" class="field-problem" role="alert">
          {problem}
        </p>
      )}
    </section>
  );
}

/** How a model is loaded; what is smaller here takes less of the GPU's memory. */
function Options() {
  const load = usePage(({ settings }) => settings.load);
  const model = usePage(({ model }) => model);
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
      {model.choice && model.kind !== "unsupported" && (
        <button type="button" class="button" onClick={reloadModel}>
          Load {model.choice.label} again
        </button>
      )}
    </section>
  );
}
