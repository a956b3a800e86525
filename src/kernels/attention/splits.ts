import source from "../../../shaders/attention/splits.wgsl?raw";
import type { Fragment } from "../../gpu/shader.ts";

/** `splitSpan(length)`: how many tokens each of SPLITS ranges has. */
export const splits: Fragment = { name: "splits", source };

/** Tokens of a tile of decode-attention: a range has at least one. */
export const SPLIT_TILE = 32;
