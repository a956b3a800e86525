import DOMPurify from "dompurify";
import { Marked, Renderer, type Tokens } from "marked";
import { useMemo, useRef } from "preact/hooks";
import { type Block, type Parsed, parseBlocks } from "./blocks.ts";
import { CodeBlock } from "./code-block.tsx";
import { memo } from "./memo.ts";
import { completeMarkup } from "./unfinished.ts";

/** A Markdown text, sanitised. While it grows (`isGrowing`), only its last block is drawn again. */
export function Markdown({ text, isGrowing }: { text: string; isGrowing: boolean }) {
  const parsed = useRef<Parsed | undefined>(undefined);
  parsed.current = parseBlocks(text, parsed.current);
  const { blocks } = parsed.current;
  return (
    <div class="markdown">
      {blocks.map((block, i) => (
        <BlockView key={i} block={block} isGrowing={isGrowing && i === blocks.length - 1} />
      ))}
    </div>
  );
}

const BlockView = memo(({ block, isGrowing }: { block: Block; isGrowing: boolean }) =>
  block.kind === "code" ? (
    <CodeBlock code={block.code} language={block.language} isGrowing={isGrowing} />
  ) : (
    <Prose raw={isGrowing ? completeMarkup(block.raw) : block.raw} />
  ),
);

function Prose({ raw }: { raw: string }) {
  const html = useMemo(() => toHtml(raw), [raw]);
  return <div dangerouslySetInnerHTML={{ __html: html }} />;
}

class ChatRenderer extends Renderer {
  /** The page's own headings end at h2, the speaker's name. */
  override heading(token: Tokens.Heading): string {
    return super.heading({ ...token, depth: Math.min(6, Math.max(3, token.depth + 1)) });
  }

  /** Wide tables scroll by themselves, with the keyboard too. */
  override table(token: Tokens.Table): string {
    return `<div class="scroll" role="region" aria-label="Table" tabindex="0">${super.table(token)}</div>`;
  }

  override code(token: Tokens.Code): string {
    return super.code(token).replace("<pre>", '<pre tabindex="0">');
  }

  /** Fetching an image would tell a stranger that it is being read: its address is shown instead. */
  override image({ href, text }: Tokens.Image): string {
    return this.link({ type: "link", raw: "", href, text, tokens: [{ type: "text", raw: "", text: text || href }] });
  }

  override checkbox({ checked }: Tokens.Checkbox): string {
    return checked ? "☑ " : "☐ ";
  }

  /** HTML is shown as it was written. */
  override html({ text }: Tokens.HTML | Tokens.Tag): string {
    return text.replace(/&/g, "&amp;").replace(/</g, "&lt;");
  }
}

const markdown = new Marked().setOptions({ gfm: true, breaks: true, renderer: new ChatRenderer() });

const purify = DOMPurify();

purify.addHook("afterSanitizeAttributes", (node) => {
  if (node.tagName !== "A") return;
  node.setAttribute("target", "_blank");
  node.setAttribute("rel", "noopener noreferrer");
});

function toHtml(text: string): string {
  return purify.sanitize(markdown.parse(text, { async: false }), {
    ALLOWED_TAGS:
      "p br hr a strong em del code pre blockquote ul ol li h3 h4 h5 h6 div table thead tbody tr th td".split(" "),
    ALLOWED_ATTR: ["href", "title", "class", "start", "align", "role", "tabindex", "aria-label"],
    ADD_URI_SAFE_ATTR: ["start", "align", "tabindex", "aria-label"],
    ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
  });
}
