import { execFile } from "node:child_process";
import { promisify } from "node:util";

/** Binds /dev/null over what stands before "--" and becomes what stands behind it. */
const SCRIPT = 'while [ "$1" != -- ]; do mount --bind /dev/null "$1" || exit 71; shift; done; shift; exec "$@"';

/**
 * Commands that run the command behind them without some devices, the best first: in a file system view of its own, which
 * takes root's rights, or those of a user in a namespace of his own. Linux.
 */
export const hidingCommands = (devices: readonly string[]): string[][] =>
  [
    ["unshare", "-m"],
    ["unshare", "-Urm"],
  ].map((unshare) => [...unshare, "sh", "-c", SCRIPT, "sh", ...devices, "--"]);

/** The first of them that works here; undefined where none does. */
export async function hidingCommand(devices: readonly string[]): Promise<string[] | undefined> {
  for (const command of hidingCommands(devices)) {
    const [file, ...args] = [...command, "true"];
    const works = promisify(execFile)(file, args, { timeout: 10_000 }).then(
      () => true,
      () => false,
    );
    if (await works) return command;
  }
  return undefined;
}
