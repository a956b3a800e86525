import type { Tool } from "sluice";
import { calculate } from "./calculate.ts";
import type { Call } from "./conversation.ts";

/** A function that runs in the page when the model calls it. */
export interface PageTool {
  readonly label: string;
  readonly hint: string;
  readonly tool: Tool;
  run(args: Readonly<Record<string, unknown>>): unknown;
}

export const pageTools: readonly PageTool[] = [
  {
    label: "Calculator",
    hint: "“What is 37 * 46?”",
    tool: define("calculate", "Work out a sum.", {
      expression: { type: "string", description: "The sum, such as 3 * (4 + 5)" },
    }),
    run: ({ expression }) => ({ result: calculate(String(expression)) }),
  },
  {
    label: "Clock",
    hint: "“What time is it in Tokyo?”",
    tool: define("get_time", "Get the current time in a city.", {
      timezone: { type: "string", description: "The city or its time zone" },
    }),
    run: ({ timezone }) => ({ time: timeIn(String(timezone)) }),
  },
];

export const toolName = ({ tool }: PageTool): string => tool.function.name;

/** What the model is told of a call's result: JSON, also where there is none. */
export function runCall({ name, arguments: args }: Call): string {
  const known = pageTools.find((tool) => toolName(tool) === name);
  try {
    if (!known) throw new Error(`There is no function ${name}.`);
    return JSON.stringify(known.run(JSON.parse(args)));
  } catch (error) {
    return JSON.stringify({ error: (error as Error).message });
  }
}

/** The time of day at a place: a time zone, or a city that has one named after it; "" is here. */
export function timeIn(place: string, now = new Date()): string {
  const wanted = place.trim().replaceAll(" ", "_").toLowerCase();
  const timeZone = Intl.supportedValuesOf("timeZone").find(
    (zone) => zone.toLowerCase() === wanted || zone.toLowerCase().endsWith(`/${wanted}`),
  );
  const isHere = ["", "here", "local", "now"].includes(wanted);
  if (!timeZone && !isHere && wanted !== "utc") throw new Error(`There is no time zone of ${place}.`);
  return now.toLocaleTimeString("en-GB", {
    timeZone: wanted === "utc" ? "UTC" : timeZone,
    hour: "2-digit",
    minute: "2-digit",
  });
}

function define(name: string, description: string, properties: Record<string, object>): Tool {
  const parameters = { type: "object", properties, required: Object.keys(properties) };
  return { type: "function", function: { name, description, parameters } };
}
