import { useState } from "preact/hooks";
import type { Thoughts } from "./conversation.ts";
import { seconds } from "./format.ts";
import { Markdown } from "./markdown.tsx";

/** Thoughts are open while they are thought, then fold away; whoever opens or closes them decides from then on. */
export function ThoughtsView({ thoughts, isGrowing }: { thoughts: Thoughts; isGrowing: boolean }) {
  const [isOpen, setOpen] = useState<boolean>();
  return (
    <details
      class="thoughts"
      open={isOpen ?? isGrowing}
      onToggle={({ currentTarget: { open } }) => setOpen(open === isGrowing ? undefined : open)}
    >
      <summary>
        {isGrowing ? "Thinking" : "Thought"} for {seconds(thoughts.ms)}
        {isGrowing && <span class="flow" />}
      </summary>
      <Markdown text={thoughts.text} isGrowing={isGrowing} />
    </details>
  );
}
