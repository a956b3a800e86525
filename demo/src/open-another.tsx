import { useRef, useState } from "preact/hooks";
import { labelOf, parseAddress } from "./address.ts";
import { folderOfInput } from "./folder.ts";
import { Icon } from "./icons.tsx";
import { loadModel, openModel } from "./model.ts";
import { page, usePage } from "./page.ts";

/** A model that is not here yet, by its address; or one whose files are. */
export function OpenAnother() {
  return (
    <>
      <FromAddress />
      <FromFiles />
    </>
  );
}

function FromAddress() {
  const [problem, setProblem] = useState("");
  const token = usePage(({ hubToken }) => hubToken);
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const typed = String(new FormData(event.currentTarget as HTMLFormElement).get("address"));
    const address = parseAddress(typed, document.baseURI);
    if ("problem" in address) return setProblem(address.problem);
    setProblem("");
    void openModel({ label: labelOf(address.source), source: address.source });
  };
  return (
    <section>
      <h3>
        <Icon name="link" /> From the network
      </h3>
      <p>
        A model of the Hugging Face Hub, or the address of a folder or a <code>.gguf</code> on a server that lets other
        pages read it (CORS). Before anything large is fetched you see what it takes.
      </p>
      <form onSubmit={submit} noValidate>
        <div class="row">
          <input
            name="address"
            type="text"
            inputMode="url"
            placeholder="owner/name or https://…"
            aria-label="Model's address"
            aria-describedby={problem ? "address-problem" : undefined}
            aria-invalid={problem !== "" || undefined}
            autocapitalize="off"
            spellcheck={false}
          />
          <button type="submit" class="button">
            Open
          </button>
        </div>
        {problem && (
          <p id="address-problem" class="field-problem" role="alert">
            {problem}
          </p>
        )}
        <details class="token" open={token !== ""}>
          <summary>It is private or gated</summary>
          <label>
            <span>Access token</span>
            <input
              type="password"
              autocomplete="off"
              placeholder="hf_…"
              value={token}
              onInput={({ currentTarget }) => page.set({ hubToken: currentTarget.value.trim() })}
            />
          </label>
          <p class="hint">Sent to huggingface.co alone, and forgotten when this tab is closed.</p>
        </details>
      </form>
    </section>
  );
}

function FromFiles() {
  const folder = useRef<HTMLInputElement>(null);
  const file = useRef<HTMLInputElement>(null);
  const open = ({ currentTarget }: { currentTarget: HTMLInputElement }) => {
    const { name, files } = folderOfInput(currentTarget);
    if (files.length > 0) void loadModel({ label: name, source: files });
  };
  return (
    <section>
      <h3>
        <Icon name="folder" /> From this device
      </h3>
      <p>
        A folder with <code>config.json</code> and <code>.safetensors</code>, one that <code>sluice pack</code> made, or
        a <code>.gguf</code>. You can also drop it anywhere on the page. It is read where it lies, not copied or sent.
      </p>
      <input
        ref={folder}
        type="file"
        hidden
        multiple
        {
          ...{ webkitdirectory: true } /* not in the types yet */
        }
        aria-label="Model folder"
        onChange={open}
      />
      <input ref={file} type="file" hidden multiple accept=".gguf" aria-label="Model file" onChange={open} />
      <div class="buttons">
        <button type="button" class="button" onClick={() => folder.current?.click()}>
          Choose a folder…
        </button>
        <button type="button" class="button" onClick={() => file.current?.click()}>
          Choose a .gguf…
        </button>
      </div>
    </section>
  );
}
