import { useEffect, useState } from "preact/hooks";
import type { LanguageModel } from "sluice";
import type { Look } from "./companion-parts.ts";
import { usePage } from "./page.ts";

/** Often enough to see it move, and far too seldom to be felt by who writes. */
const LOOK_MS = 400;

export interface Looks {
  /** The last one. */
  readonly last: Look;
  /** The first one since the last reply's first token, once there was one. */
  readonly first?: Look;
}

/** Looks at what a model does while a reply is written, and once after it; not in a hidden tab. */
export function useStats(llm: LanguageModel): Looks | undefined {
  const [looks, setLooks] = useState<Looks & { readonly llm: LanguageModel }>();
  const phase = usePage(({ running }) => (running ? (running.phase === "writing" ? "writing" : "before") : "idle"));
  // A link may break at any time.
  const link = usePage(({ companion }) => companion.link);
  useEffect(() => {
    let isOver = false;
    let isFirst = phase === "writing";
    let timer: ReturnType<typeof setTimeout> | undefined;
    const look = async () => {
      const stats = document.hidden ? undefined : await llm.stats().catch(() => undefined);
      if (isOver) return;
      if (stats) {
        const last = { ms: performance.now(), stats };
        const begins = isFirst;
        isFirst = false;
        setLooks((before) => ({ llm, last, first: phase === "before" ? undefined : begins ? last : before?.first }));
      }
      if (phase !== "idle" && (!stats || stats.paging || stats.companion)) timer = setTimeout(look, LOOK_MS);
    };
    void look();
    return () => {
      isOver = true;
      clearTimeout(timer);
    };
  }, [llm, phase, link]);
  return looks?.llm === llm ? looks : undefined;
}
