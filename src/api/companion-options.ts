import { InvalidRequestError } from "../errors.ts";
import type { CompanionOptions } from "./types.ts";

export const companionOptions = (companion: string | CompanionOptions): CompanionOptions =>
  typeof companion === "string" ? { url: companion } : companion;

/** Fails with `InvalidRequestError` for what cannot be a companion. */
export function checkCompanion(companion: string | CompanionOptions): void {
  const { url, mode = "auto", layers, private: isPrivate = false } = companionOptions(companion);
  if (!/^https?:/.test(URL.canParse(url) ? new URL(url).protocol : "")) {
    throw new InvalidRequestError("companion", `${url} is not an address such as https://host:8000.`);
  }
  if (!["auto", "requests", "experts", "layers"].includes(mode)) {
    throw new InvalidRequestError("companion.mode", `${mode} is none of auto, requests, experts, layers.`);
  }
  if (isPrivate && mode === "requests") {
    throw new InvalidRequestError("companion.private", 'mode "requests" sends the tokens of prompts to the companion.');
  }
  if (layers !== undefined && (mode !== "layers" || !Number.isSafeInteger(layers) || layers < 1)) {
    throw new InvalidRequestError(
      "companion.layers",
      `${layers} is no number of layers that run here in mode "layers".`,
    );
  }
}
