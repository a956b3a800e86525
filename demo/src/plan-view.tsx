import type { ComponentChildren } from "preact";
import { useId } from "preact/hooks";
import type { ModelPlan } from "sluice";
import { bytes, parameters, percent, rate } from "./format.ts";
import { expertShare, setExpertShare } from "./model.ts";
import { type ModelChoice, usePage } from "./page.ts";
import { explain } from "./problems.ts";
import { Row } from "./row.tsx";
import { type Planned, usePlan } from "./use-plan.ts";

interface Properties {
  readonly choice: ModelChoice;
  /** With what a model is, besides what it takes. */
  readonly isWhole?: boolean;
  /** Told what is planned now, and with which share of the experts. */
  readonly children: (planned: Planned, share: number | undefined) => ComponentChildren;
}

/** What a model would take; for a mixture of experts with a slider for how much of it the device shall hold. */
export function PlanView({ choice, isWhole = false, children }: Properties) {
  const share = usePage(({ settings }) => expertShare(choice, settings));
  const planned = usePlan(choice, share);
  const { plan, problem, isPlanning } = planned;
  return (
    <>
      {problem && (
        <div role="alert">
          <p class="field-problem">{problem.message}</p>
          <p>{explain(problem).advice}</p>
        </div>
      )}
      {!plan && isPlanning && (
        <p role="status" class="flow">
          Reading what {choice.label} is made of…
        </p>
      )}
      {plan && (
        <div aria-busy={isPlanning || undefined} class="plan">
          {isWhole && <Whole plan={plan} />}
          {plan.experts && <Budget choice={choice} plan={plan} experts={plan.experts} share={share} />}
          <dl>
            {!plan.experts && <Row name="Memory">{bytes(plan.memory.total)}</Row>}
            {plan.paging && (
              <>
                <Row name="Expected hits">{percent(plan.paging.hitRate)}</Row>
                <Row name="Read for a token">{bytes(plan.paging.bytesPerToken)}</Row>
                <Row name="Expected speed">
                  {plan.paging.tokensPerSecond ? rate(plan.paging.tokensPerSecond) : "once storage is measured"}
                </Row>
              </>
            )}
          </dl>
        </div>
      )}
      {children(planned, share)}
    </>
  );
}

function Whole({ plan: { modelType, parameters: count, sizeBytes, experts } }: { plan: ModelPlan }) {
  return (
    <dl>
      <Row name="Model">
        {modelType}, {parameters(count)} parameters
      </Row>
      {experts && (
        <Row name="Experts">
          {experts.perToken} of {experts.perLayer} for a token, in {experts.layers} layers
        </Row>
      )}
      <Row name="Weights to read">{bytes(sizeBytes)}</Row>
    </dl>
  );
}

interface BudgetProperties {
  readonly choice: ModelChoice;
  readonly plan: ModelPlan;
  readonly experts: NonNullable<ModelPlan["experts"]>;
  readonly share: number | undefined;
}

function Budget({ choice, plan, experts: { perLayer, perToken }, share = 1 }: BudgetProperties) {
  const id = useId();
  const slots = Math.max(perToken, Math.round(share * perLayer));
  const words = slots === perLayer ? `all ${perLayer} experts a layer` : `${slots} of ${perLayer} experts a layer`;
  return (
    <div class="budget">
      <label for={id}>Memory budget</label>
      <output for={id}>
        {bytes(plan.memory.total)} · {words}
      </output>
      <input
        id={id}
        type="range"
        min={perToken}
        max={perLayer}
        value={slots}
        aria-valuetext={words}
        onInput={({ currentTarget: { valueAsNumber } }) =>
          setExpertShare(choice, valueAsNumber >= perLayer ? undefined : valueAsNumber / perLayer)
        }
      />
      <p class="hint">Experts that are not on the device are read from storage when a token asks for them.</p>
    </div>
  );
}
