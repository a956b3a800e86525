export { createServer, type ListenOptions, type LLMServer, type TlsFiles } from "./server/create-server.ts";
export type { ServerOptions } from "./server/options.ts";
export type { RepliesRecord, RequestRecord } from "./server/request-record.ts";
