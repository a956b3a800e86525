import { spawn } from "node:child_process";

/** Shows a page in the user's browser where there is a desktop. Failing is not worth a word: the address is printed as well. */
export function openBrowser(url: string): void {
  const command = opener();
  if (!command) return;
  const [program, ...args] = command;
  spawn(program, [...args, url], { detached: true, stdio: "ignore" })
    .on("error", () => {})
    .unref();
}

function opener(): string[] | undefined {
  switch (process.platform) {
    case "darwin":
      return ["open"];
    case "win32":
      return ["explorer"];
    default:
      return process.env.DISPLAY || process.env.WAYLAND_DISPLAY ? ["xdg-open"] : undefined;
  }
}
