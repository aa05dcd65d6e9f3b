import { isUtf8 } from "node:buffer";
import { TenonError } from "../contracts/errors.ts";
import type { Codec } from "./codec.ts";

/** JSON in UTF-8. The type is taken on trust; use a schema where the other side is not yours. */
export function json<T>(): Codec<T> {
  return jsonCodec as Codec<T>;
}

const jsonCodec: Codec<unknown> = {
  contentType: "application/json",
  encode(value) {
    if (typeof value === "number" && !Number.isFinite(value)) {
      throw new TenonError("invalid", `The number ${value} has no JSON form; it would come back as null.`);
    }
    const text = stringify(value);
    if (text === undefined) {
      throw new TenonError(
        "invalid",
        `A value of type ${typeof value} has no JSON form. Encode an object, an array, a string, a finite number, a boolean or null.`,
      );
    }
    return Buffer.from(text);
  },
  decode(body) {
    if (!isUtf8(body)) throw undecodable(body, "its bytes are not UTF-8");
    const buffer = Buffer.isBuffer(body) ? body : Buffer.from(body.buffer, body.byteOffset, body.byteLength);
    const text = buffer.toString("utf8");
    try {
      return JSON.parse(text);
    } catch {
      // The parser's own message quotes the text, and a payload has no place in an error.
      throw undecodable(body, "its text does not parse");
    }
  },
};

function stringify(value: unknown): string | undefined {
  try {
    return JSON.stringify(value);
  } catch (cause) {
    throw new TenonError(
      "invalid",
      "A value could not be written as JSON; it holds a cycle, a bigint or a `toJSON` that throws. Encode plain data.",
      { cause },
    );
  }
}

function undecodable(body: Uint8Array, why: string): TenonError {
  return new TenonError(
    "invalid",
    `A body of ${body.byteLength} bytes is not JSON: ${why}. Decode it with the codec that it was encoded with.`,
    {
      fields: { sizeBytes: body.byteLength },
    },
  );
}
