import { createServer, type ViteDevServer } from "vite";

/** Serves /store-page, which runs `store-page.ts`, or another script, on the modules as they are. */
export async function serveStorePage(script = "store-page.ts"): Promise<ViteDevServer> {
  const page = `<!doctype html><script type="module" src="/test/support/${script}"></script>`;
  const server = await createServer({
    mode: "test",
    root: ".",
    logLevel: "error",
    server: { port: 0, host: "127.0.0.1", watch: null, hmr: false },
    optimizeDeps: { noDiscovery: true },
    plugins: [
      {
        name: "store-page",
        configureServer: ({ middlewares }) => {
          middlewares.use("/store-page", (_, response) => response.setHeader("content-type", "text/html").end(page));
        },
      },
    ],
  });
  return server.listen();
}
