import type { LanguageModel, MemoryPlan, ModelInfo, Usage } from "sluice";
import { CompanionSection } from "./companion-section.tsx";
import { lastUsage } from "./conversation.ts";
import { ExpertCache } from "./expert-cache.tsx";
import { bytes, count, milliseconds, parameters, rate } from "./format.ts";
import { Gauge } from "./gauge.tsx";
import { currentConversation, usePage } from "./page.ts";
import { Row } from "./row.tsx";
import { useStats } from "./use-stats.ts";

/** What runs where, how much memory it takes and how fast it is. */
export function EnginePanel() {
  const llm = usePage(({ model }) => (model.kind === "ready" ? model.llm : undefined));
  if (!llm) return <p class="panel hint">Once a model is loaded, this shows what it runs on and how fast.</p>;
  return <Panel llm={llm} />;
}

function Panel({ llm }: { llm: LanguageModel }) {
  const usage = usePage((state) => lastUsage(currentConversation(state)));
  const name = usePage(({ model }) => model.choice?.label ?? "");
  const looks = useStats(llm);
  const { info } = llm;
  const paging = looks?.last.stats.paging;
  return (
    <div class="panel">
      <LastReply usage={usage} />
      <CompanionSection info={info} looks={looks} usage={usage} />
      {paging && paging.slots > 0 && <ExpertCache paging={paging} />}
      {info.memory.total > 0 && <Device info={info} />}
      <About info={info} name={name} />
      {info.memory.total > 0 && <Memory plan={info.memory} />}
    </div>
  );
}

function LastReply({ usage }: { usage: Usage | undefined }) {
  if (!usage) {
    return (
      <section>
        <h3>Last reply</h3>
        <p class="hint">None yet in this conversation.</p>
      </section>
    );
  }
  return (
    <section>
      <h3>Last reply</h3>
      <div class="figure-pair">
        <Figure value={rate(usage.decodeTokensPerSecond)} label="Writing" />
        <Figure value={milliseconds(usage.timeToFirstTokenMs)} label="To the first token" />
      </div>
      <dl>
        <Row name="Reply">{count(usage.completionTokens)} tokens</Row>
        <Row name="Prompt">{count(usage.promptTokens)} tokens</Row>
        <Row name="Reused from before" id="cached-tokens">
          {count(usage.cachedTokens)} tokens
        </Row>
        <Row name="Reading">{rate(usage.prefillTokensPerSecond)}</Row>
      </dl>
    </section>
  );
}

function Device({ info: { adapter } }: { info: ModelInfo }) {
  return (
    <section>
      <h3>Device</h3>
      <dl>
        <Row name="Adapter">{adapter.name}</Row>
        <Row name="Arithmetic">{adapter.dtype}</Row>
        <Row name="Subgroups">{adapter.subgroups ? "used" : "not there"}</Row>
      </dl>
      {adapter.isSoftware && (
        <p class="remark">
          A software adapter: the processor stands in for a GPU, so this is many times slower than the same page on a
          real one. On a machine with a GPU, check that hardware acceleration is on in the browser's settings.
        </p>
      )}
    </section>
  );
}

function About({ info, name }: { info: ModelInfo; name: string }) {
  return (
    <section>
      <h3>Model</h3>
      <dl>
        <Row name="Name">{name}</Row>
        <Row name="Architecture">{info.modelType}</Row>
        <Row name="Parameters">{parameters(info.parameters)}</Row>
        <Row name="Layers">
          {info.layers.delta} delta, {info.layers.attention} attention
        </Row>
        <Row name="Weights">{info.quantization}</Row>
        <Row name="Context">{count(info.maxContext)} tokens</Row>
        <Row name="Vocabulary">{count(info.vocabulary)}</Row>
      </dl>
    </section>
  );
}

const parts: readonly [keyof MemoryPlan, string][] = [
  ["weights", "Weights"],
  ["kvCache", "KV cache"],
  ["recurrentState", "Recurrent state"],
  ["snapshots", "Snapshots"],
  ["scratch", "Scratch"],
  ["other", "Other"],
];

function Memory({ plan }: { plan: MemoryPlan }) {
  return (
    <section>
      <h3>Memory on the device</h3>
      <dl class="memory">
        {parts
          .filter(([part]) => plan[part] > 0)
          .map(([part, name]) => (
            <Row key={part} name={name}>
              {bytes(plan[part])}
              <Gauge
                label={name}
                value={plan[part]}
                max={plan.total}
                text={`${bytes(plan[part])} of ${bytes(plan.total)}`}
              />
            </Row>
          ))}
        <Row name="Total">{bytes(plan.total)}</Row>
      </dl>
    </section>
  );
}

function Figure({ value, label }: { value: string; label: string }) {
  return (
    <p>
      <strong>{value}</strong>
      <span>{label}</span>
    </p>
  );
}
