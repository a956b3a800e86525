import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { Command, type ParseOptionsResult } from "commander";
import {
  commandLine,
  type KnownOption,
  type Respelled,
  respell,
  type Setting,
  SpellingError,
} from "./serve-spellings.ts";

/**
 * A command whose options may be spelled as other servers spell them, and may also stand in a file (`--config`) and in the
 * environment (`SLUICE_PORT` for `--port`). The command line wins over the environment, and that over the file.
 */
export class ServeCommand extends Command {
  /** What was accepted without effect, and why. */
  notes: readonly string[] = [];

  override parseOptions(args: string[]): ParseOptionsResult {
    try {
      const known = this.options.map(
        ({ long, required, optional, variadic }): KnownOption => ({
          long: long ?? undefined,
          takesValue: required || optional,
          isList: variadic,
        }),
      );
      const given = respell(args, known);
      const environment = environmentSettings(known);
      const file = [...environment, ...given.settings].findLast(({ option }) => option === "--config")?.values[0];
      const filed = file === undefined ? undefined : respell(fileArguments(file, known), known);
      const all = inOrder([filed?.settings ?? [], environment, given.settings]);
      this.notes = [...new Set([...(filed?.notes ?? []), ...given.notes])];
      const model = given.model ?? (given.rest.length > 0 ? undefined : filed?.model);
      return super.parseOptions(commandLine({ ...given, model, settings: all }));
    } catch (error) {
      if (error instanceof SpellingError) this.error(`error: ${error.message}`, { code: "commander.unknownOption" });
      throw error;
    }
  }
}

/** What a later source says replaces what an earlier one does. */
const inOrder = (sources: readonly Respelled["settings"][]): Setting[] =>
  sources.flatMap((settings, i) =>
    settings.filter(
      ({ option }) => !sources.slice(i + 1).some((later) => later.some((other) => other.option === option)),
    ),
  );

/** `SLUICE_MAX_MODEL_LEN` for `--max-model-len`. Keys are read elsewhere: they must not be shown as a command line is. */
function environmentSettings(known: readonly KnownOption[]): Setting[] {
  return known.flatMap(({ long = "", takesValue, isList }): Setting[] => {
    const value = process.env[`SLUICE_${long.slice(2).replaceAll("-", "_").toUpperCase()}`];
    if (value === undefined || value === "" || long === "" || long === "--api-key") return [];
    if (!takesValue) return /^(0|false|no|off)$/i.test(value) ? [] : [{ option: long, values: [] }];
    return [{ option: long, values: isList ? value.split(/[\s,]+/).filter(Boolean) : [value] }];
  });
}

/** A YAML or JSON file of options, as arguments. */
function fileArguments(path: string, known: readonly KnownOption[]): string[] {
  let content: unknown;
  try {
    // Nothing else needs YAML's parser.
    const { parse } = createRequire(import.meta.url)("yaml") as typeof import("yaml");
    content = parse(readFileSync(path, "utf8"));
  } catch (error) {
    throw new SpellingError(`--config ${path} cannot be read: ${(error as Error).message}`);
  }
  if (typeof content !== "object" || content === null || Array.isArray(content)) {
    throw new SpellingError(`--config ${path} must hold options and their values, such as port: 8000`);
  }
  return Object.entries(content).flatMap(([key, value]) => {
    if (value === true) return [`--${key}`];
    if (value === false) return known.some(({ long }) => long === `--no-${key}`) ? [`--no-${key}`] : [];
    if (Array.isArray(value)) return [`--${key}`, ...value.map(String)];
    return value === null ? [] : [`--${key}=${typeof value === "object" ? JSON.stringify(value) : value}`];
  });
}
