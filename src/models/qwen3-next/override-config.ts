import type { Json } from "./config-fields.ts";

/**
 * A config.json with some of its fields replaced; objects are merged. Fields of the text model are found where a multimodal
 * wrapper has them, in `text_config`. Under either name, `rope_parameters` or `rope_scaling`, what is given wins.
 */
export function overrideConfig(config: Json, overrides: Json): Json {
  const { text_config: inner, ...outer } = overrides;
  const wanted: Json = { ...outer, ...(inner as Json | undefined) };
  if (!isObject(config.text_config)) return withRope(config, wanted);
  return { ...config, ...pick(wanted, Object.keys(config)), text_config: withRope(config.text_config, wanted) };
}

function withRope(text: Json, { rope_parameters, rope_scaling, ...rest }: Json): Json {
  const merged = merge(text, rest);
  const asked = { ...(rope_parameters as Json | undefined), ...(rope_scaling as Json | undefined) };
  if (Object.keys(asked).length === 0) return merged;
  const rope: Json = { ...(text.rope_parameters as Json | null), ...(text.rope_scaling as Json | null), ...asked };
  const type = asked.rope_type ?? asked.type ?? rope.rope_type ?? rope.type;
  return {
    ...merged,
    rope_parameters: { ...rope, ...(type !== undefined && { rope_type: type }) },
    rope_scaling: undefined,
  };
}

function merge(a: Json, b: Json): Json {
  const merged = Object.entries(b).map(([key, value]) => {
    const old = a[key];
    return [key, isObject(old) && isObject(value) ? merge(old, value) : value];
  });
  return { ...a, ...Object.fromEntries(merged) };
}

const pick = (object: Json, keys: readonly string[]): Json =>
  Object.fromEntries(Object.entries(object).filter(([key]) => keys.includes(key) && key !== "text_config"));

const isObject = (value: unknown): value is Json =>
  typeof value === "object" && value !== null && !Array.isArray(value);
