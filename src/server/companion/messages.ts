import * as z from "zod";

const id = z.number().int().min(0);
const count = z
  .number()
  .int()
  .min(0)
  .max(2 ** 24);
const finite = z.number();

const sampling = z.object({
  temperature: finite.min(0),
  topK: count,
  topP: finite.gt(0).max(1),
  minP: finite.min(0).max(1),
  presencePenalty: finite.min(-2).max(2),
  frequencyPenalty: finite.min(-2).max(2),
  repetitionPenalty: finite.gt(0).max(2),
  seed: z
    .number()
    .int()
    .min(0)
    .max(2 ** 32 - 1),
  logitBias: z.array(z.tuple([count, finite])).max(1024),
  stopIds: z.array(count).max(16),
  maxTokens: count,
});

export const hello = z.object({ kind: z.literal("hello"), version: z.number(), key: z.string().max(4096).optional() });

const small = (max: number) => z.number().int().min(0).max(max);
const size = (max: number) => z.number().int().min(1).max(max);
const state = z.string().min(16).max(64);

const open = z.object({
  kind: z.literal("open"),
  id,
  state,
  from: small(4096),
  to: size(4096),
  maxContext: size(2 ** 20),
  maxBatchTokens: size(2 ** 16),
  maxSequences: size(64),
  snapshots: small(256),
  cacheTokens: size(2 ** 24),
});

const step = z.object({
  kind: z.literal("step"),
  id,
  state,
  turn: id,
  answered: id,
  work: z.enum(["prefill", "decode"]),
  copies: z.array(z.object({ what: z.enum(["state", "block"]), from: count, to: count })).max(1024),
  sequences: z
    .array(
      z.object({
        slot: count,
        position: count,
        rows: size(2 ** 16),
        keep: count,
        same: count,
        blocks: z.array(count).max(2 ** 14),
      }),
    )
    .min(1)
    .max(64),
});

/** What may be said after hello: `ToCompanion`. */
export const message = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("ping"), id }),
  z.object({ kind: z.literal("stats"), id }),
  z.object({ kind: z.literal("abort"), id }),
  open,
  step,
  z.object({ kind: z.literal("sum"), id, layer: count, rows: count.min(1) }),
  z.object({
    kind: z.literal("generate"),
    id,
    promptTokens: count,
    replyTokens: count,
    maskWords: count,
    boundaries: z.array(count).max(4096).optional(),
    logits: z.boolean(),
    score: z.boolean(),
    sampling,
  }),
]);

export type Message = z.infer<typeof message>;
