import type { FileSource } from "./checkpoint.ts";
import { httpSource } from "./http-source.ts";
import { parseHubId } from "./hub-id.ts";
import { type HubOptions, hubSource } from "./hub-source.ts";

/** Whether a text is the address of a model on the network. */
export const isAddress = (text: string): boolean => /^(https?|hf):/.test(text);

/** A model on the network: on the Hugging Face Hub by its name or its page, else a folder of a web server. */
export function networkSource(address: string | URL, options: HubOptions): FileSource {
  const id = parseHubId(String(address));
  return id ? hubSource(id, options) : httpSource(address);
}
