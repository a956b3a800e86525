export { createServer, type ListenOptions, type LLMServer } from "./server/create-server.ts";
export type { ServerOptions } from "./server/options.ts";
