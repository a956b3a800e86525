import type { Context } from "hono";
import { HttpError } from "../http-error.ts";
import type { Env } from "../respond.ts";
import type { Service } from "../service.ts";

/** `GET /v1/models` */
export const listModels = (c: Context<Env>, service: Service): Response =>
  c.json({ object: "list", data: service.names.listed.map((id) => describe(id, service)) });

/** `GET /v1/models/<name>`, whose name may hold slashes. */
export function oneModel(c: Context<Env>, service: Service): Response {
  const name = decodeURIComponent(c.req.path.replace(/^(\/v1)?\/models\//, ""));
  if (service.names.isKnown(name)) return c.json(describe(name, service));
  throw new HttpError(`The model ${JSON.stringify(name)} does not exist.`, {
    status: 404,
    code: "model_not_found",
    type: "not_found_error",
    param: "model",
  });
}

function describe(id: string, { llm, names, startedAt }: Service) {
  const { info } = llm;
  return {
    id,
    object: "model",
    created: startedAt,
    owned_by: "sluice",
    root: names.first,
    parent: null,
    max_model_len: info.maxContext,
    meta: {
      n_vocab: info.vocabulary,
      n_ctx: info.maxContext,
      n_params: info.parameters,
      size: info.memory.weights,
      quantization: info.quantization,
      model_type: info.modelType,
    },
  };
}
