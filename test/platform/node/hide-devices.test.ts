import { execFileSync } from "node:child_process";
import { expect, it } from "vitest";
import { hidingCommand, hidingCommands } from "../../../src/platform/node/hide-devices.ts";

it("is one command in front of another", () => {
  const commands = hidingCommands(["/dev/nvidia1", "/dev/nvidia2"]);
  expect(commands.map(([, flags]) => flags)).toEqual(["-m", "-Urm"]);
  expect(commands[0].slice(-4)).toEqual(["sh", "/dev/nvidia1", "/dev/nvidia2", "--"]);
});

const works = hidingCommand(["/dev/zero"]);

it.skipIf((await works) === undefined)("hides a device from the process, and from nobody else", async () => {
  const [command, ...args] = (await works)!;
  const count = ["sh", "-c", 'head -c 3 "$1" | wc -c', "sh", "/dev/zero"];
  const read = (file: string, args: string[]) => execFileSync(file, args, { encoding: "utf8" }).trim();
  expect(read(command, [...args, ...count])).toBe("0");
  expect(read(count[0], count.slice(1))).toBe("3");
});

it("is not there where a device is not", async () => {
  expect(await hidingCommand(["/dev/no-such-device"])).toBeUndefined();
});
