import { useId, useState } from "preact/hooks";
import { changeWay, connect, disconnect, linkStates } from "./companion.ts";
import { type CompanionChoice, isOpen, parseCompanion, type Way, wayName } from "./companion-choice.ts";
import { Icon } from "./icons.tsx";
import { page, usePage } from "./page.ts";
import { explain, type Problem } from "./problems.ts";

/** A server to lean on: which, with what key, and in what way. */
export function CompanionForm() {
  const choice = usePage(({ companion }) => companion.choice);
  return (
    <section class="companion-form">
      <h3 id="companion" tabIndex={-1}>
        <Icon name="link" /> A companion
      </h3>
      {choice ? <Connected choice={choice} /> : <Connect />}
    </section>
  );
}

function Connect() {
  const { isConnecting, problem: refusal } = usePage(({ companion }) => companion);
  const kept = page.state.settings.companion;
  const [way, setWay] = useState<Way>(kept?.way ?? "auto");
  const [mistake, setMistake] = useState<Problem>();
  const problem = mistake ?? refusal;
  const id = useId();
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const fields = new FormData(event.currentTarget as HTMLFormElement);
    const parsed = parseCompanion(String(fields.get("url")), document.baseURI);
    setMistake("problem" in parsed ? parsed.problem : undefined);
    if ("url" in parsed) void connect({ ...parsed, key: String(fields.get("key")), way }, fields.has("keep"));
  };
  return (
    <>
      <p>
        A <code>sluice serve</code> with the same model, for this page to lean on where its own device is too small or
        too slow.
      </p>
      <form onSubmit={submit} noValidate>
        <div class="options">
          <label>
            <span>Address</span>
            <input
              name="url"
              type="text"
              inputMode="url"
              placeholder="https://host:8000"
              defaultValue={kept?.url}
              aria-describedby={problem ? `${id}-problem` : undefined}
              aria-invalid={problem !== undefined || undefined}
              autocapitalize="off"
              autocomplete="off"
              spellcheck={false}
            />
          </label>
          <label>
            <span>Key</span>
            <input name="key" type="password" autocomplete="off" defaultValue={kept?.key} />
          </label>
          <label class="keep">
            <input name="keep" type="checkbox" defaultChecked={kept?.key !== undefined} />
            <span>Keep the key when this tab is closed</span>
          </label>
          <WayField way={way} onChange={setWay} />
        </div>
        {problem && !isConnecting && (
          <p id={`${id}-problem`} class="field-problem" role="alert">
            <strong>{explain(problem).title}.</strong> {problem.message} {explain(problem).advice}
          </p>
        )}
        <div class="buttons">
          <button type="submit" class="button" disabled={isConnecting}>
            {isConnecting ? "Measuring the link…" : "Connect"}
          </button>
        </div>
      </form>
    </>
  );
}

function Connected({ choice }: { choice: CompanionChoice }) {
  const { link, probe } = usePage(({ companion }) => companion);
  const isUsed = usePage(
    ({ model }) => model.kind === "ready" && (model.llm.info.companion?.mode ?? "none") !== "none",
  );
  const [way, setWay] = useState(choice.way);
  return (
    <>
      <p>
        <strong>{choice.url}</strong>
        {probe && `, ${probe.label}`} · {isUsed ? linkStates[link ?? "connected"] : "not used now"}
      </p>
      {isOpen(choice.url) && (
        <p class="remark">It is reached without https: others on the way can read the key, and what is sent.</p>
      )}
      <div class="options">
        <WayField way={way} onChange={setWay} />
      </div>
      <div class="buttons">
        <button type="button" class="button" onClick={() => disconnect()}>
          Disconnect
        </button>
        {(way !== choice.way || link === "lost" || link === "replaced") && (
          <button type="button" class="button primary" onClick={() => changeWay(way)}>
            {way === choice.way ? "Connect again" : "Load again this way"}
          </button>
        )}
      </div>
    </>
  );
}

const ways: readonly { readonly way: Way; readonly hint: string }[] = [
  {
    way: "auto",

    hint: "Of the ways below, by what is measured when a model is loaded. What you write may be sent there.",
  },
  { way: "requests", hint: "What you write is sent there, as tokens." },
  {
    way: "experts",

    hint: "Your words stay here; vectors made of them are sent. The memory budget says how many experts are held here; without one, none.",
  },
  {
    way: "layers",

    hint: "Your words stay here; vectors made of them are sent. The memory budget says how many layers stay; without one, the first.",
  },
  { way: "none", hint: "The link is measured, and then not used." },
];

function WayField({ way, onChange }: { way: Way; onChange: (way: Way) => void }) {
  const id = useId();
  return (
    <>
      <label>
        <span>Way</span>
        <select value={way} aria-describedby={id} onChange={({ currentTarget: { value } }) => onChange(value as Way)}>
          {ways.map(({ way }) => (
            <option key={way} value={way}>
              {wayName(way)}
            </option>
          ))}
        </select>
      </label>
      <p id={id} class="hint">
        {ways.find((one) => one.way === way)?.hint}
      </p>
    </>
  );
}
