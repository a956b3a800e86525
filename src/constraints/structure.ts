/**
 * What a text has to look like, as XGrammar's structural tags write it. All of them but `any_text` end where they are
 * complete; `any_text` ends with the tag that it is the content of.
 */
export type Structure =
  | { readonly type: "any_text" }
  | { readonly type: "const_string"; readonly value: string }
  | { readonly type: "json_schema"; readonly json_schema: boolean | Record<string, unknown> }
  | { readonly type: "regex"; readonly pattern: string }
  /** EBNF whose first rule is `root`. */
  | { readonly type: "grammar"; readonly grammar: string }
  | { readonly type: "sequence"; readonly elements: readonly Structure[] }
  | { readonly type: "or"; readonly elements: readonly Structure[] }
  | Tag
  /** Any text, in which what begins as a trigger has to be one of the tags. */
  | {
      readonly type: "triggered_tags";
      readonly triggers: readonly string[];
      readonly tags: readonly Tag[];
      readonly stop_after_first: boolean;
    }
  | {
      readonly type: "tags_with_separator";
      readonly tags: readonly Tag[];
      readonly separator: string;
      readonly at_least_one: boolean;
      readonly stop_after_first: boolean;
    };

export interface Tag {
  readonly type: "tag";
  readonly begin: string;
  readonly content: Structure;
  readonly end: string;
}

/** The engine takes no empty `const_string`. */
export const nothing: Structure = { type: "grammar", grammar: 'root ::= ""' };

/** `structure` after thoughts that are open when the reply begins, and the line breaks that models put behind them. */
export const afterThinking = (structure: Structure): Structure => ({
  type: "sequence",
  elements: [
    { type: "tag", begin: "", content: { type: "any_text" }, end: "</think>" },
    { type: "regex", pattern: "\\n{0,2}" },
    structure,
  ],
});
