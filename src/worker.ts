import type { Port, ToPage, ToWorker } from "./api/port.ts";
import { serveLLM } from "./api/serve-llm.ts";
import { browserPlatform } from "./platform/browser/platform.ts";

serveLLM(globalThis as unknown as Port<ToPage, ToWorker>, browserPlatform);
