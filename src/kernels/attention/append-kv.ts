import source from "../../../shaders/attention/append-kv.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";
import { batchFragment } from "../lib/batch.ts";
import { reduce } from "../lib/reduce.ts";
import { kvRows } from "./kv-cache.ts";

/** Normalises and rotates queries and keys, appends to the cache. Uses a `kvWrite`. Grid: [query + key-value heads, rows]. */
export const appendKVKernel = defineKernel({
  name: "append-kv",
  source,
  uses: [batchFragment, reduce, kvRows],
  buffers: ["qkv", "queryFactor", "keyFactor", "rope", "queries", "batch", "keys", "values"],
  constants: ["WORKGROUP", "QUERY_HEADS", "KEY_VALUE_HEADS", "HEAD_DIM", "ROTARY_DIM", "QUERY_EPS", "KEY_EPS"],
});
