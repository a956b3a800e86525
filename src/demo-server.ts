import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Command, InvalidArgumentError } from "commander";
import { openBrowser } from "./platform/node/open-browser.ts";
import { serveFolder } from "./platform/node/static-server.ts";

const program = new Command("npm start --")
  .description("Serve the chat demo, and open it in the browser where there is a desktop.")
  .option("--port <number>", "port; the next free one when it is taken", parsePort, 8080)
  .option("--host <address>", "address to listen on", "127.0.0.1")
  .option("--no-open", "do not open a browser")
  .parse();
const { port, host, open } = program.opts<{ port: number; host: string; open: boolean }>();

const folder = fileURLToPath(new URL("../demo", import.meta.url));
if (!existsSync(folder)) program.error("The demo is not built yet. Run `npm run build` first.");

const { url } = await serveFolder({ folder, host, port }).catch((error) =>
  program.error(`Cannot listen on ${host}, port ${port}: ${error.message}`),
);
console.log(`The demo is at ${url} (Ctrl+C stops it).`);
console.log(
  "It needs a browser with WebGPU: Chrome or Edge 113, Safari 26, Firefox 141, or later. " +
    "Without a GPU, start Chromium with --enable-unsafe-webgpu.",
);
if (!["127.0.0.1", "localhost", "::1"].includes(host)) {
  console.log("Browsers on other machines offer WebGPU over HTTPS only, so put a proxy with a certificate in front.");
}
if (open) openBrowser(url);

function parsePort(value: string): number {
  const port = Number(value);
  if (!Number.isInteger(port) || port < 0 || port > 65535) throw new InvalidArgumentError("A port is 0 to 65535.");
  return port;
}
