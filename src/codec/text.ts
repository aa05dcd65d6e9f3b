import { isUtf8 } from "node:buffer";
import { TenonError } from "../contracts/errors.ts";
import type { Codec } from "./codec.ts";

/** Text in UTF-8. Strings with lone surrogates are refused, because UTF-8 cannot carry them. */
export function text(): Codec<string> {
  return textCodec;
}

const textCodec: Codec<string> = {
  contentType: "text/plain; charset=utf-8",
  encode(value) {
    if (typeof value !== "string") {
      throw new TenonError(
        "invalid",
        `The text codec encodes strings, not values of type ${typeof value}. Use json() or bytes().`,
      );
    }
    if (!value.isWellFormed()) {
      throw new TenonError(
        "invalid",
        "A text holds a lone surrogate, which UTF-8 cannot carry. Call toWellFormed() on it, or encode bytes.",
      );
    }
    return Buffer.from(value);
  },
  decode(body) {
    if (!isUtf8(body)) {
      throw new TenonError(
        "invalid",
        `A body of ${body.byteLength} bytes is not UTF-8. Decode it with the codec that it was encoded with.`,
        {
          fields: { sizeBytes: body.byteLength },
        },
      );
    }
    const buffer = Buffer.isBuffer(body) ? body : Buffer.from(body.buffer, body.byteOffset, body.byteLength);
    return buffer.toString("utf8");
  },
};
