import type { Port, ToPage, ToWorker } from "./api/port.ts";
import { serveLLM } from "./api/serve-llm.ts";
import { parentPort } from "./platform/node/parent-port.ts";
import { nodePlatform } from "./platform/node/platform.ts";

serveLLM(parentPort() as Port<ToPage, ToWorker>, nodePlatform);
