import type { ChatMessage, ChatParams } from "../api/types.ts";
import { CheckpointError, InvalidRequestError } from "../errors.ts";
import { type Program, parseTemplate, runTemplate } from "./template-interpreter.ts";
import { templateMessages } from "./template-messages.ts";

export interface TemplateOptions {
  readonly tools?: ChatParams["tools"];
  /** End with the opening of the assistant's turn. Default true. */
  readonly addGenerationPrompt?: boolean;
  /** Further variables, such as `enable_thinking`. */
  readonly variables?: ChatParams["templateVariables"];
}

/** A checkpoint's own Jinja chat template, run as transformers runs it. */
export class ChatTemplate {
  readonly #program?: Program;
  readonly #checkpoint: string;

  /** `checkpoint` names the model in errors. Fails with `CheckpointError` where the template cannot be parsed. */
  constructor(source: string | undefined, checkpoint: string) {
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
   * The part of `render`'s prompt that ends with the last message, before the assistant's turn is opened. Where the
   * template writes the messages otherwise without that turn, it is what both have in common: always a prefix.
   */
  boundary(messages: readonly ChatMessage[], options: TemplateOptions = {}): string {
    const prompt = this.render(messages, { ...options, addGenerationPrompt: true });
    const closed = this.render(messages, { ...options, addGenerationPrompt: false });
    let common = 0;
    while (common < closed.length && closed[common] === prompt[common]) common++;
    return closed.slice(0, common);
  }
}
