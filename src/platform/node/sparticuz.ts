import { createReadStream, createWriteStream, existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rename, rm, stat } from "node:fs/promises";
import { createRequire } from "node:module";
import { homedir, tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createBrotliDecompress } from "node:zlib";

/**
 * Unpacks archives (`*.tar.br`) and programs (`*.br`) from `bin/` of the npm package `@sparticuz/chromium` into one folder
 * named `name`, once for all processes, and returns the folder. Two processes may do it at once: each unpacks into a folder
 * of its own, and the first rename wins.
 *
 * @returns undefined when the package is not installed: it is the user's to choose.
 */
export async function unpackSparticuz(name: string, files: readonly string[]): Promise<string | undefined> {
  const entry = resolveOptional("@sparticuz/chromium");
  if (entry === undefined) return undefined;
  const root = join(dirname(entry), "../..");
  const { version } = JSON.parse(await readFile(join(root, "package.json"), "utf8"));
  const folder = join(await cacheFolder(), `${name}-${version}`);
  if (existsSync(folder)) return folder;

  const unpacked = await mkdtemp(`${folder}-`);
  try {
    // The package unpacks itself with tar-fs, so that is there whenever the package is.
    const tar = createRequire(entry)("tar-fs");
    for (const file of files) {
      const target = file.endsWith(".tar.br")
        ? tar.extract(unpacked)
        : createWriteStream(join(unpacked, basename(file, ".br")), { mode: 0o700 });
      await pipeline(createReadStream(join(root, "bin", file)), createBrotliDecompress(), target);
    }
    await rename(unpacked, folder);
  } catch (error) {
    await rm(unpacked, { recursive: true, force: true });
    if (!existsSync(folder)) throw error;
  }
  return folder;
}

function resolveOptional(name: string): string | undefined {
  try {
    return createRequire(import.meta.url).resolve(name, { paths: [import.meta.dirname, process.cwd()] });
  } catch {
    return undefined;
  }
}

/** The user's cache, or where that cannot be written, a folder of this user's among the temporary files. */
async function cacheFolder(): Promise<string> {
  const user = process.getuid?.();
  const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "sluice");
  const temporary = join(tmpdir(), `sluice-${user}`);
  for (const folder of [cache, temporary]) {
    const made = await mkdir(folder, { recursive: true, mode: 0o700 }).then(
      () => stat(folder),
      () => undefined,
    );
    // Programs are started from here, so nobody else may have put them.
    if (made?.uid === user) return folder;
  }
  throw new Error(`neither ${cache} nor ${temporary} can be written`);
}
