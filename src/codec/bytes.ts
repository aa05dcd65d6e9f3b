import { TenonError } from "../contracts/errors.ts";
import type { Codec } from "./codec.ts";

/** Bytes as they are, without a copy in either direction: leave them alone after handing them over, and never write into those received. */
export function bytes(): Codec<Uint8Array> {
  return bytesCodec;
}

const bytesCodec: Codec<Uint8Array> = {
  contentType: "application/octet-stream",
  encode(value) {
    if (!(value instanceof Uint8Array)) {
      throw new TenonError(
        "invalid",
        `The bytes codec encodes a Uint8Array, not a value of type ${typeof value}. Use json() or text().`,
      );
    }
    return value;
  },
  decode(body) {
    return body;
  },
};
