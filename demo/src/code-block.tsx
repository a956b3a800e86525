import { useEffect, useState } from "preact/hooks";
import { CopyButton } from "./copy-button.tsx";
import { highlight } from "./highlight.ts";

interface Properties {
  readonly code: string;
  readonly language: string;
  readonly isGrowing: boolean;
}

/** Plain while it is being written, highlighted once when it is complete. */
export function CodeBlock({ code, language, isGrowing }: Properties) {
  const [html, setHtml] = useState<string>();
  useEffect(() => {
    if (isGrowing) return;
    let isCurrent = true;
    highlight(code, language).then(
      (html) => isCurrent && setHtml(html),
      () => {}, // Without its grammar, code stays plain.
    );
    return () => {
      isCurrent = false;
      setHtml(undefined);
    };
  }, [code, language, isGrowing]);

  return (
    <figure class="code">
      <figcaption>
        <span>{language || "text"}</span>
        <CopyButton text={code} label="Copy code" />
      </figcaption>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: wide code scrolls, also with the keyboard. */}
      <pre tabIndex={0}>
        {html ? <code key="marked" dangerouslySetInnerHTML={{ __html: html }} /> : <code key="plain">{code}</code>}
      </pre>
    </figure>
  );
}
