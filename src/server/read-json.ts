import { getLocation, type ParseError, parse, printParseErrorCode } from "jsonc-parser";
import type * as z from "zod";
import { HttpError, pathText } from "./http-error.ts";

/** The body of a request, of the schema's shape. Fails with 400, 413 or 415, and says where. */
export async function readJson<T extends z.ZodType>(
  request: Request,
  schema: T,
  maxBytes: number,
): Promise<z.infer<T>> {
  const type = request.headers.get("content-type");
  if (type !== null && !/[/+]json\b/i.test(type)) {
    throw new HttpError(`The body is of type ${type}; send application/json.`, {
      status: 415,
      code: "unsupported_media_type",
    });
  }
  return schema.parse(parseJson(await readText(request, maxBytes)));
}

async function readText(request: Request, maxBytes: number): Promise<string> {
  const tooLarge = (bytes: string) =>
    new HttpError(`The body has ${bytes} bytes, and may have ${maxBytes}.`, { status: 413, code: "body_too_large" });
  const declared = Number(request.headers.get("content-length") ?? 0);
  if (declared > maxBytes) throw tooLarge(String(declared));
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let text = "";
  let bytes = 0;
  try {
    for await (const chunk of request.body ?? []) {
      bytes += chunk.byteLength;
      if (bytes > maxBytes) throw tooLarge(`more than ${maxBytes}`);
      text += decoder.decode(chunk, { stream: true });
    }
    return text + decoder.decode();
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new HttpError("The body is not UTF-8.", { status: 400, code: "invalid_json" }, { cause: error });
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    if (text.trim() === "") throw new HttpError("The body is empty; send JSON.", { status: 400, code: "invalid_json" });
    const errors: ParseError[] = [];
    parse(text, errors, { disallowComments: true });
    const { offset, error } = errors[0] ?? { offset: 0, error: 1 };
    const path = pathText(getLocation(text, offset).path);
    const where = `at character ${offset}${path === "" ? "" : `, in ${path}`}`;
    throw new HttpError(
      `The body is not JSON: ${printParseErrorCode(error)} ${where}.`,
      { status: 400, code: "invalid_json", param: path || undefined },
      { cause },
    );
  }
}
