import { afterEach, expect, it, vi } from "vitest";
import { merge } from "../../src/server/merge.ts";

const unhandled = vi.fn();
process.on("unhandledRejection", unhandled);
afterEach(() => void process.off("unhandledRejection", unhandled));

async function* failing() {
  yield 1;
  throw new Error("no more");
}

it("tells of a failure who reads on, however late that is", async () => {
  const items = merge([failing(), failing()]);
  expect(await items.next()).toMatchObject({ value: { index: 0, item: 1 } });
  // As where a client is slow at reading.
  await new Promise((resolve) => setTimeout(resolve, 0));
  const rest = async () => {
    for await (const _ of items);
  };
  await expect(rest()).rejects.toThrow("no more");
  await new Promise((resolve) => setTimeout(resolve, 0));
  expect(unhandled).not.toHaveBeenCalled();
});
