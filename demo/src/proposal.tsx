import { useEffect, useRef } from "preact/hooks";
import { bytes } from "./format.ts";
import { useLibrary } from "./library.ts";
import { loadModel } from "./model.ts";
import { type ModelChoice, page } from "./page.ts";
import { PlanView } from "./plan-view.tsx";

/** What a model from the network would take, before anything large is fetched. */
export function Proposal({ choice }: { choice: ModelChoice }) {
  const usage = useLibrary(({ usage }) => usage);
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => heading.current?.focus(), [choice]);
  const free = usage?.quotaBytes === undefined ? undefined : Math.max(0, usage.quotaBytes - usage.usedBytes);
  return (
    <section class="proposal">
      <h3 ref={heading} tabIndex={-1}>
        {choice.label}
      </h3>
      <p class="source">{String(choice.source)}</p>
      <PlanView choice={choice} isWhole>
        {({ plan }) => (
          <>
            {plan && free !== undefined && plan.sizeBytes > free && (
              <p class="remark">
                The browser offers {bytes(free)} of storage: what does not fit is fetched anew each time. Deleting other
                models makes room.
              </p>
            )}
            <div class="buttons">
              <button type="button" class="button primary" disabled={!plan} onClick={() => loadModel(choice)}>
                {plan ? `Download ${bytes(plan.sizeBytes)} and load` : "Download and load"}
              </button>
              <button type="button" class="button" onClick={() => page.set({ proposed: undefined })}>
                Back
              </button>
            </div>
          </>
        )}
      </PlanView>
    </section>
  );
}
