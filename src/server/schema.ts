import type * as z from "zod";

/** A field that may be absent or null. */
export const optional = <T extends z.ZodType>(type: T) => type.nullish().transform((value) => value ?? undefined);

/** A parsed request: fields that may be undefined may as well be absent. */
export type Sparse<T> = T extends readonly (infer E)[]
  ? readonly Sparse<E>[]
  : T extends object
    ? { [K in keyof T as undefined extends T[K] ? K : never]?: Sparse<T[K]> } & {
        [K in keyof T as undefined extends T[K] ? never : K]: Sparse<T[K]>;
      }
    : T;
