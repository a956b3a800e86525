import { describe, expect, it } from "vitest";
import { isSameAddress, labelOf, parseAddress } from "../../demo/src/address.ts";

const parse = (text: string) => parseAddress(text, "http://localhost:8080/chat/");

describe("parseAddress", () => {
  it.each([
    ["Qwen/Qwen3-Next-80B-A3B-Instruct", "hf:Qwen/Qwen3-Next-80B-A3B-Instruct"],
    [" owner/name@v1:q4/model.gguf ", "hf:owner/name@v1:q4/model.gguf"],
    ["hf:owner/name", "hf:owner/name"],
    ["https://huggingface.co/owner/name", "hf:owner/name"],
    ["https://huggingface.co/owner/name/tree/main", "hf:owner/name"],
    ["https://hf.co/owner/name/tree/dev/q4", "hf:owner/name@dev:q4/"],
    ["https://huggingface.co/owner/name/blob/main/a/b.gguf", "hf:owner/name:a/b.gguf"],
    ["https://example.com/models/next", "https://example.com/models/next/"],
    ["https://example.com/models/next/config.json", "https://example.com/models/next/"],
    ["https://example.com/next/sluice.json?key=1", "https://example.com/next/?key=1"],
    ["https://example.com/next-Q4_K.gguf", "https://example.com/next-Q4_K.gguf"],
    ["./models/sprout", "http://localhost:8080/chat/models/sprout/"],
    ["http://localhost:8080/m/", "http://localhost:8080/m/"],
  ])("%s is %s", (typed, source) => expect(parse(typed)).toEqual({ source }));

  it.each(["", "nothing", "hf:", "hf:name", "a b", "ftp://example.com/m", "javascript:alert(1)"])(
    "%s is refused",
    (typed) => expect(parse(typed)).toEqual({ problem: expect.stringContaining("owner/name") }),
  );

  it("says that other servers need https", () => {
    expect(parse("http://example.com/m")).toEqual({ problem: expect.stringContaining("over https") });
  });
});

it.each([
  ["hf:owner/name", "name"],
  ["hf:owner/name@v1:q4/model-Q4_K-00001-of-00003.gguf", "model-Q4_K"],
  ["hf:owner/name:q4/", "name q4"],
  ["https://example.com/models/my%20model/", "my model"],
  ["https://example.com/name/resolve/main/", "name"],
  ["https://example.com/next-Q8_0.gguf?x=1", "next-Q8_0"],
])("%s is called %s", (source, label) => expect(labelOf(source)).toBe(label));

it("compares addresses without what is not of their name", () => {
  expect(isSameAddress("https://e.com/m/?token=1", "https://e.com/m")).toBe(true);
  expect(isSameAddress("https://e.com/m", "https://e.com/n")).toBe(false);
});
