import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { type Browser, type BrowserContext, chromium, type LaunchOptions } from "playwright";
import { unpackSparticuz } from "../../src/platform/node/sparticuz.ts";

/** `installed`: a Chromium or Chrome of the machine. `packaged`: the one in `@sparticuz/chromium`, for Linux on x64. */
export type BrowserKind = "installed" | "packaged";

const PROGRAMS = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

const ARGS = [
  "--no-sandbox",
  "--enable-unsafe-webgpu",
  // A test needs nothing from outside, and a closed network would be asked again and again.
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-quic",
  "--disable-sync",
  "--no-first-run",
];

/** The kinds that can be launched here, best first; SLUICE_TEST_BROWSER leaves only one. */
export function browserKinds(): BrowserKind[] {
  const kinds: BrowserKind[] = [];
  if (process.platform !== "linux" || findProgram() !== undefined) kinds.push("installed");
  if (process.platform === "linux" && process.arch === "x64") kinds.push("packaged");
  const wanted = process.env.SLUICE_TEST_BROWSER;
  return wanted ? kinds.filter((kind) => kind === wanted) : kinds;
}

/** A software adapter on a busy machine takes long for anything: what a page is waited for may take nearly all of a test's time. */
const PATIENCE_MS = 200_000;

/** A headless Chromium with WebGPU, on a software adapter where there is no other. */
export async function launchBrowser(kind?: BrowserKind, args: readonly string[] = []): Promise<Browser> {
  const options = await launchOptions(kind);
  const browser = await chromium.launch({ ...options, args: [...options.args!, ...args] });
  const newContext = browser.newContext.bind(browser);
  return Object.assign(browser, {
    newContext: async (...options: Parameters<typeof newContext>) => patient(await newContext(...options)),
  });
}

/** The same with a profile on disk: what pages store goes there, and outlives the browser. */
export async function launchWithProfile(folder: string, kind?: BrowserKind): Promise<BrowserContext> {
  return patient(await chromium.launchPersistentContext(folder, await launchOptions(kind)));
}

function patient(context: BrowserContext): BrowserContext {
  context.setDefaultTimeout(PATIENCE_MS);
  return context;
}

async function launchOptions(kind = browserKinds()[0]): Promise<LaunchOptions> {
  if (kind === undefined) throw new Error("There is no browser to test with. Install chromium.");
  return { args: ARGS, ...(kind === "installed" ? installed() : await packaged()) };
}

function installed(): LaunchOptions {
  const executablePath = findProgram();
  return executablePath ? { executablePath } : { channel: "chrome" };
}

/** Nothing of the machine is needed: libraries and a font are in the package too, and SwiftShader lies beside the program. */
async function packaged(): Promise<LaunchOptions> {
  const files = ["chromium.br", "swiftshader.tar.br", "al2023.tar.br", "fonts.tar.br"];
  const folder = await unpackSparticuz("chromium", files);
  if (folder === undefined) throw new Error("There is no browser to test with. Run `npm ci`, or install chromium.");
  const fonts = join(folder, "with-system-fonts.conf");
  await writeFile(fonts, fontConfig(join(folder, "fonts")));
  const libraries = [join(folder, "lib"), process.env.LD_LIBRARY_PATH].filter(Boolean).join(delimiter);
  const env = { ...process.env, LD_LIBRARY_PATH: libraries, FONTCONFIG_FILE: fonts } as Record<string, string>;
  return { executablePath: join(folder, "chromium"), env };
}

const fontConfig = (folder: string) => `<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <include ignore_missing="yes">/etc/fonts/fonts.conf</include>
  <dir>${folder}</dir>
  <cachedir prefix="xdg">fontconfig</cachedir>
</fontconfig>
`;

function findProgram(): string | undefined {
  const folders = (process.env.PATH ?? "").split(delimiter);
  return PROGRAMS.flatMap((name) => folders.map((folder) => join(folder, name))).find((path) => existsSync(path));
}
