import { createReadStream, createWriteStream, existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rename, rm, stat } from "node:fs/promises";
import { createRequire } from "node:module";
import { homedir, tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createBrotliDecompress } from "node:zlib";

/**
 * Unpacks `bin/<file>` (`*.tar.br`, or one program as `*.br`) of the npm package `@sparticuz/chromium`, once for all
 * processes, and returns the folder. Two processes may do it at once: each unpacks into a folder of its own, and the
 * first rename wins.
 *
 * @returns undefined when the package is not installed: it is the user's to choose.
 */
export async function unpackSparticuz(file: string): Promise<string | undefined> {
  const require = createRequire(import.meta.url);
  const entry = resolveOptional(require, "@sparticuz/chromium");
  if (entry === undefined) return undefined;
  const root = join(dirname(entry), "../..");
  const { version } = JSON.parse(await readFile(join(root, "package.json"), "utf8"));
  const name = basename(file, ".br");
  const folder = join(await cacheFolder(), `${basename(name, ".tar")}-${version}`);
  if (existsSync(folder)) return folder;

  const unpacked = await mkdtemp(`${folder}-`);
  try {
    const target = name.endsWith(".tar")
      ? // The package unpacks itself with tar-fs, so that is there whenever the package is.
        createRequire(entry)("tar-fs").extract(unpacked)
      : createWriteStream(join(unpacked, name), { mode: 0o700 });
    await pipeline(createReadStream(join(root, "bin", file)), createBrotliDecompress(), target);
    await rename(unpacked, folder);
  } catch (error) {
    await rm(unpacked, { recursive: true, force: true });
    if (!existsSync(folder)) throw error;
  }
  return folder;
}

function resolveOptional(require: NodeJS.Require, name: string): string | undefined {
  try {
    return require.resolve(name, { paths: [import.meta.dirname, process.cwd()] });
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
