/** What stands between the tags of one tool call, read character by character. */
export interface CallBody {
  /** `whole` after the last character that the call needs; push nothing after `wrong`. */
  push(char: string): "open" | "whole" | "wrong";
  /** What looks like a tag would now be a part of a value. */
  readonly isInValue: boolean;
  /** Known from when it is complete. */
  readonly name: string | undefined;
  /** The text of the arguments since the last call; in all, one JSON object. Nothing before the name is known. */
  takeArguments(): string;
}
