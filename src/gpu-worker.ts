import { fileURLToPath } from "node:url";
import { type Port, type ToPage, type ToWorker, unpackError } from "./api/port.ts";
import { serveLLM } from "./api/serve-llm.ts";
import { parentPort } from "./platform/node/parent-port.ts";
import { nodePlatform } from "./platform/node/platform.ts";
import { stageProcesses } from "./platform/node/stage-processes.ts";
import { HostAnswers } from "./workers/answer-host.ts";

// Where the layers are in processes of their own, this one has the engine and no GPU.
const { SLUICE_STAGES } = process.env;
const script = fileURLToPath(new URL("./stage-worker.js", import.meta.url));
const stages = SLUICE_STAGES ? stageProcesses(script, JSON.parse(SLUICE_STAGES), unpackError) : undefined;

serveLLM(parentPort() as Port<ToPage, ToWorker>, { ...nodePlatform, stages }, new HostAnswers());
