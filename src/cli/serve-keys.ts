import { readFile } from "node:fs/promises";
import { InvalidRequestError } from "../errors.ts";

/** The keys that were given, in the command line, in a file, or else in the environment. */
export async function apiKeys(options: {
  readonly apiKey?: readonly string[];
  readonly apiKeyFile?: string;
}): Promise<string[]> {
  const { apiKey, apiKeyFile } = options;
  const fromEnvironment = [process.env.SLUICE_API_KEY, process.env.VLLM_API_KEY].filter((key) => key !== undefined);
  const given = apiKey ?? (apiKeyFile === undefined ? fromEnvironment : []);
  const inFile = apiKeyFile === undefined ? [] : (await readKeys(apiKeyFile)).split(/\r?\n/);
  const keys = [...given, ...inFile].map((key) => key.trim()).filter((key) => key !== "" && !key.startsWith("#"));
  if (apiKeyFile !== undefined && keys.length === 0) {
    throw new InvalidRequestError("--api-key-file", `${apiKeyFile} holds no key.`);
  }
  return keys;
}

const readKeys = (path: string): Promise<string> =>
  readFile(path, "utf8").catch((error: Error) => {
    throw new InvalidRequestError("--api-key-file", `${path} cannot be read: ${error.message}.`);
  });
