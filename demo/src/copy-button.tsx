import { useEffect, useState } from "preact/hooks";
import { Icon } from "./icons.tsx";
import { page } from "./page.ts";

export function CopyButton({ text, label }: { text: string; label: string }) {
  const [isCopied, setCopied] = useState(false);
  useEffect(() => {
    if (!isCopied) return;
    const timer = setTimeout(() => setCopied(false), 1600);
    return () => clearTimeout(timer);
  }, [isCopied]);

  const copy = async () => {
    await navigator.clipboard.writeText(text);
    setCopied(true);
    page.set({ announcement: "Copied." });
  };

  return (
    <button type="button" class="icon-button" aria-label={label} title={label} onClick={copy}>
      <Icon name={isCopied ? "check" : "copy"} />
    </button>
  );
}
