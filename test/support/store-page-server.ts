import { createServer, type ViteDevServer } from "vite";

/** With these headers a page is told how much memory it takes. */
const ISOLATED = { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" };

/** Serves /store-page, which runs `store-page.ts`, or another script, on the modules as they are. */
export async function serveStorePage(
  script = "store-page.ts",
  { isolated = false }: { readonly isolated?: boolean } = {},
): Promise<ViteDevServer> {
  const page = `<!doctype html><script type="module" src="/test/support/${script}"></script>`;
  const server = await createServer({
    mode: "test",
    root: ".",
    logLevel: "error",
    server: { port: 0, host: "127.0.0.1", watch: null, hmr: false, headers: isolated ? ISOLATED : {} },
    optimizeDeps: { noDiscovery: true },
    plugins: [
      {
        name: "store-page",
        configureServer: ({ middlewares }) => {
          middlewares.use("/store-page", (_, response) => {
            response.setHeaders(new Map(Object.entries(isolated ? ISOLATED : {})));
            response.setHeader("content-type", "text/html").end(page);
          });
        },
      },
    ],
  });
  return server.listen();
}
