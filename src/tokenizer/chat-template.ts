import type { ChatMessage, ChatParams } from "../api/types.ts";
import { CheckpointError, InvalidRequestError } from "../errors.ts";
import { type Program, parseTemplate, runTemplate } from "./template-interpreter.ts";
import { templateMessages } from "./template-messages.ts";

export interface TemplateOptions {
  readonly tools?: ChatParams["tools"];
  /** End with the opening of the assistant's turn. Default true. */
  readonly addGenerationPrompt?: boolean;
  /** End within the last message, which then is the assistant's to go on with. Default false. */
  readonly continueFinalMessage?: boolean;
  /** Further variables, such as `enable_thinking`. */
  readonly variables?: ChatParams["templateVariables"];
}

/** A checkpoint's own Jinja chat template, run as transformers runs it. */
export class ChatTemplate {
  /** Undefined where the checkpoint has none. */
  readonly source: string | undefined;
  readonly #program?: Program;
  readonly #checkpoint: string;

  /** `checkpoint` names the model in errors. Fails with `CheckpointError` where the template cannot be parsed. */
  constructor(source: string | undefined, checkpoint: string) {
    this.source = source;
    this.#checkpoint = checkpoint;
    if (source === undefined) return;
    try {
      this.#program = parseTemplate(source);
    } catch (error) {
      throw new CheckpointError(checkpoint, `the chat template cannot be parsed: ${(error as Error).message}`, {
        cause: error,
      });
    }
  }

  /** The prompt for a chat. Fails with `InvalidRequestError` where a message is malformed or the template refuses it. */
  render(messages: readonly ChatMessage[], options: TemplateOptions = {}): string {
    if (!options.continueFinalMessage) return this.#render(messages, options);
    return uptoFinalMessage(messages, this.#render(messages, { ...options, addGenerationPrompt: false }));
  }

  #render(messages: readonly ChatMessage[], options: TemplateOptions): string {
    if (!this.#program) {
      throw new InvalidRequestError(
        "messages",
        `${this.#checkpoint} has no chat template. Use generate() with a prompt, or put a chat_template.jinja beside its config.json.`,
      );
    }
    const variables = {
      documents: null,
      ...options.variables,
      messages: templateMessages(messages),
      tools: options.tools?.length ? options.tools : null,
      add_generation_prompt: options.addGenerationPrompt ?? true,
      raise_exception: (message: string) => {
        throw new InvalidRequestError("messages", message);
      },
    };
    try {
      return runTemplate(this.#program, variables);
    } catch (error) {
      if (error instanceof InvalidRequestError) throw error;
      throw new InvalidRequestError("messages", `the chat template cannot render them: ${(error as Error).message}`);
    }
  }

  /**
   * Beginnings of `render`'s prompt that later chats may share, ascending: tools and system messages, all before the last
   * message, and the `boundary`. Found by rendering other messages in their place, so that any template can be asked.
   */
  boundaries(messages: readonly ChatMessage[], options: TemplateOptions = {}): string[] {
    const prompt = this.render(messages, options);
    const whole = this.boundary(messages, options);
    const first = messages.findIndex(({ role }) => role !== "system" && role !== "developer");
    const before = [...new Set([first, messages.length - 1])]
      .filter((index) => index >= 0)
      .map((index) => this.#before(index, messages, prompt, options))
      .filter(({ length }) => length > 0 && length < whole.length);
    return [...before, whole];
  }

  /** What the prompt would have in common with that of another message at `index`. */
  #before(index: number, messages: readonly ChatMessage[], prompt: string, options: TemplateOptions): string {
    const { role, content, tool_call_id } = messages[index];
    const other = contentStart(content) === "x" ? "y" : "x";
    const changed = [...messages.slice(0, index), { role, tool_call_id, content: other }];
    try {
      return commonStart(prompt, this.#render(changed, { ...options, addGenerationPrompt: true }));
    } catch {
      // A template may refuse a chat that ends there.
      return "";
    }
  }

  /**
   * The part of `render`'s prompt that ends with the last message, before the assistant's turn is opened. Where the
   * template writes the messages otherwise without that turn, it is what both have in common: always a prefix.
   */
  boundary(messages: readonly ChatMessage[], options: TemplateOptions = {}): string {
    if (options.continueFinalMessage) return this.render(messages, options);
    const prompt = this.render(messages, { ...options, addGenerationPrompt: true });
    const closed = this.render(messages, { ...options, addGenerationPrompt: false });
    return commonStart(closed, prompt);
  }
}

function commonStart(a: string, b: string): string {
  let length = 0;
  while (length < a.length && a[length] === b[length]) length++;
  return a.slice(0, length);
}

const contentStart = (content: ChatMessage["content"]): string | undefined =>
  (typeof content === "string" ? content : (content?.[0]?.text ?? "")).trimStart()[0];

/** A prompt without what the template writes after the last message's text. */
function uptoFinalMessage(messages: readonly ChatMessage[], prompt: string): string {
  const last = messages.at(-1)!;
  const where = `messages[${messages.length - 1}]`;
  if (last.role !== "assistant") {
    throw new InvalidRequestError(
      `${where}.role`,
      `only an assistant's message can be continued, not a ${last.role}'s.`,
    );
  }
  const text = templateMessages([last])[0].content;
  if (typeof text !== "string" || text.trim() === "") {
    throw new InvalidRequestError(`${where}.content`, "there is no text to continue.");
  }
  // Templates may trim what they write.
  for (const written of [text, text.trimStart(), text.trim()]) {
    const at = prompt.lastIndexOf(written);
    if (at >= 0) return prompt.slice(0, at + written.length);
  }
  throw new InvalidRequestError(
    `${where}.content`,
    "the chat template writes it otherwise, so it cannot be continued.",
  );
}
