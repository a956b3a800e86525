/** What a request calls a parameter of the model, such as `guided_regex` for `format.pattern`. */
export type FieldNames = (field: string) => string;

/** `top_p` for `topP`; with `names` for the parameters that are called otherwise, by themselves or with all in them. */
export const fieldNames =
  (names: Readonly<Record<string, string | undefined>> = {}): FieldNames =>
  (field) => {
    const [head, rest = ""] = field.split(/(?=[.[])(.*)/s);
    return names[field] ?? names[head] ?? head.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`) + rest;
  };
