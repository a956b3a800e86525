import type { CompanionChoice } from "./companion-choice.ts";
import { Mark } from "./icons.tsx";
import { sprout } from "./model.ts";
import { type Model, page, usePage } from "./page.ts";
import { send } from "./reply.ts";

const forSprout = [
  "Tell me a short story about a fox.",
  "What is the capital of Italy?",
  "What is 12 + 7?",
  "Hello! Who are you?",
];

const forOthers = [
  "Explain what a hash map is, with a short example in Python.",
  "Write a limerick about a lock keeper.",
  "Make a table of the planets and their moons.",
  "What should I ask before I rent a flat?",
];

/** Before the first message: something to begin with, and what to expect. */
export function Empty({ model }: { model: Model }) {
  const companion = usePage(({ companion }) => companion.choice);
  const isSprout = model.choice?.source === sprout.source;
  const canAsk = model.kind === "ready" || model.kind === "loading";
  return (
    <section class="empty" aria-label="Start">
      <Mark />
      <p class="empty-title">
        {isSprout ? "Ask Sprout something small." : `Ask ${model.choice?.label ?? "a model"} something.`}
      </p>
      {isSprout && (
        <p class="empty-text">
          It is a very small model: simple English, short stories, capitals, easy sums. What it does not know, it makes
          up. {whereItRuns(model, companion)}
        </p>
      )}
      {!isSprout && <p class="empty-text">{whereItRuns(model, companion)}</p>}
      <ul class="examples">
        {(isSprout ? forSprout : forOthers).map((text) => (
          <li key={text}>
            <button type="button" disabled={!canAsk || page.state.running !== undefined} onClick={() => send(text)}>
              {text}
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}

/** What becomes of what somebody writes. */
function whereItRuns(model: Model, choice: CompanionChoice | undefined): string {
  const mode = model.kind === "ready" ? (model.llm.info.companion?.mode ?? "none") : choice?.way;
  if (!choice || !mode || mode === "none") return "It runs on your GPU, in this page, and nothing you write leaves it.";
  const { host } = new URL(choice.url);
  if (mode === "auto") return `It leans on ${host}, and what you write may be sent there.`;
  if (mode === "requests") return `It runs on ${host}, and what you write is sent there.`;
  return `It runs in this page and on ${host}: your words stay here, and vectors made of them are sent there.`;
}
